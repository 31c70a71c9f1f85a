package field

import (
	"errors"

	"edgegateway/drivers"
)

// taken is what of the machine the devices take, in their order.
type taken []holding

type holding struct {
	device string
	use    drivers.Use
}

// take notes what a device takes; its error says which device has it already.
func (t *taken) take(c DeviceConfig, uses []drivers.Use) error {
	var errs []error
	for _, use := range uses {
		for _, other := range *t {
			switch {
			case other.use.What != use.What:
				continue
			case other.use.Shared == "" || use.Shared == "":
				errs = append(errs, c.fault("options."+use.Key, "%s is taken by the device %q", use.What, other.device))
			case other.use.Shared != use.Shared:
				errs = append(errs, c.fault("options."+use.Key, "%s is used with other settings (%s, not %s) by the device %q", use.What, other.use.Shared, use.Shared, other.device))
			default:
				continue
			}
			break
		}
		*t = append(*t, holding{c.Name, use})
	}
	return errors.Join(errs...)
}
