package packet

// Pingreq asks for a Pingresp.
type Pingreq struct{}

// Pingresp answers a Pingreq.
type Pingresp struct{}

func (*Pingreq) Type() Type  { return PINGREQ }
func (*Pingresp) Type() Type { return PINGRESP }

// Append adds the encoded packet to dst.
func (*Pingreq) Append(dst []byte, _ Version) []byte { return append(dst, byte(PINGREQ)<<4, 0) }

// Append adds the encoded packet to dst.
func (*Pingresp) Append(dst []byte, _ Version) []byte { return append(dst, byte(PINGRESP)<<4, 0) }

// Size is 2 bytes.
func (*Pingreq) Size(Version) int { return 2 }

// Size is 2 bytes.
func (*Pingresp) Size(Version) int { return 2 }
