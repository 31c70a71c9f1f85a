package cloud

import (
	"errors"

	"edgegateway/broker/packet"
)

// A verdict is what an error of the link means for the next attempt. say is what a
// person can do or should know, "" if the error says it all.
type verdict struct {
	manner manner
	say    string
}

// reasons are the verdicts on every reason code of the standard (2.4), for CONNACK
// and DISCONNECT. Codes that have no place there are a fault of the server.
var reasons = map[packet.ReasonCode]verdict{
	packet.Success:                {soon, "the server ended the connection without a reason"}, // Normal disconnection, Granted QoS 0
	packet.GrantedQoS1:            {slowly, notInPlace},
	packet.GrantedQoS2:            {slowly, notInPlace},
	packet.NoMatchingSubscribers:  {slowly, notInPlace},
	packet.NoSubscriptionExisted:  {slowly, notInPlace},
	packet.ContinueAuthentication: {slowly, notInPlace},
	packet.Reauthenticate:         {slowly, notInPlace},

	packet.DisconnectWithWillMessage: {soon, "the server ended the connection without a reason"},

	packet.UnspecifiedError:            {soon, "the server does not say why; its log may"},
	packet.MalformedPacket:             {slowly, "the server could not read what we sent: does it speak MQTT 5? please report this"},
	packet.ProtocolError:               {slowly, "the server sees a fault in what we sent; its log may say more; please report this"},
	packet.ImplementationSpecificError: {slowly, "the server does not support something that we asked for; its log may say more"},
	packet.UnsupportedProtocolVersion:  {rarely, "the server must speak MQTT 5"},
	packet.ClientIdentifierNotValid:    {rarely, "set client_id to one that the server accepts"},
	packet.BadUserNameOrPassword:       {rarely, "check username and password_file"},
	packet.NotAuthorized:               {rarely, "check username and password_file, and what the server lets this user and client_id do"},
	packet.ServerUnavailable:           {soon, "the server is there and not ready"},
	packet.ServerBusy:                  {slowly, "the server has too much to do"},
	packet.Banned:                      {rarely, "the server has banned this client: ask its operator"},
	packet.ServerShuttingDown:          {soon, "the server is going down, maybe to come back"},
	packet.BadAuthenticationMethod:     {rarely, "the server wants enhanced authentication, which this bridge does not have"},
	packet.KeepAliveTimeout:            {soon, "the server heard nothing of us for too long: if this repeats, set a shorter keep_alive"},
	packet.SessionTakenOver:            {slowly, "another client uses this client_id: give each gateway its own"},
	packet.TopicFilterInvalid:          {slowly, "the server does not like the from of a route down"},
	packet.TopicNameInvalid:            {slowly, "the server does not like a topic: check status_topic and the to of the routes up"},
	packet.PacketIdentifierInUse:       {soon, "the server counts packet identifiers otherwise than we do; the session is resumed"},
	packet.PacketIdentifierNotFound:    {soon, "the server counts packet identifiers otherwise than we do; the session is resumed"},
	packet.ReceiveMaximumExceeded:      {soon, "the server counts messages under way otherwise than we do; the session is resumed"},
	packet.TopicAliasInvalid:           {soon, "the server does not take topic aliases as it said"},
	packet.PacketTooLarge:              {slowly, "a packet was larger than the server takes, and it did not say before how much it takes"},
	packet.MessageRateTooHigh:          {slowly, "the server wants fewer messages per second"},
	packet.QuotaExceeded:               {slowly, "a quota at the server is used up"},
	packet.AdministrativeAction:        {slowly, "somebody ended the connection at the server"},
	packet.PayloadFormatInvalid:        {slowly, "the server does not like the payload of a message"},
	packet.RetainNotSupported:          {slowly, "the server keeps no retained messages"},
	packet.QoSNotSupported:             {slowly, "the server does not take this QoS"},
	packet.UseAnotherServer:            {slowly, "the server sends us to another one for now, and to none that we may use: add it to servers"},
	packet.ServerMoved:                 {slowly, "the server has moved, and to none that we may use: change servers"},
	packet.ConnectionRateExceeded:      {slowly, "the server takes no more connections for now"},
	packet.MaximumConnectTime:          {soon, "the server lets no connection last longer"},

	packet.SharedSubscriptionsNotSupported:     {slowly, notInPlace},
	packet.SubscriptionIdentifiersNotSupported: {slowly, notInPlace},
	packet.WildcardSubscriptionsNotSupported:   {slowly, "the server takes no wildcards: name the topics in the from of the routes down"},
}

const notInPlace = "the code has no place here: the server is at fault"

// judge says how to go on after an attempt or a link that ended with err.
func judge(err error) verdict {
	var no refusal
	var bye disconnected
	switch {
	case errors.As(err, &no):
		return reason(no.code)
	case errors.As(err, &bye):
		v := reason(bye.code)
		v.manner = min(v.manner, slowly) // it had let us in: some of it works
		return v
	case errors.Is(err, errOldServer):
		return verdict{rarely, "the server must speak MQTT 5"}
	case errors.As(err, new(distrust)):
		return verdict{manner: slowly}
	}
	return verdict{}
}

func reason(code packet.ReasonCode) verdict {
	if v, ok := reasons[code]; ok {
		return v
	}
	return verdict{slowly, "the standard does not know this code: the server is at fault"}
}
