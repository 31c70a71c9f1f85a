package i2c

import "context"

// crc8 is the checksum that Sensirion's chips put behind each word: polynomial 0x31,
// begun with 0xFF (datasheet SHT3x-DIS, version 5, table 20).
func crc8(b []byte) byte {
	crc := byte(0xff)
	for _, x := range b {
		crc ^= x
		for range 8 {
			carry := crc&0x80 != 0
			crc <<= 1
			if carry {
				crc ^= 0x31
			}
		}
	}
	return crc
}

// words reads n words with their checksums.
func (c *link) words(ctx context.Context, n int) ([]uint16, error) {
	b := make([]byte, 3*n)
	if err := c.Tx(ctx, nil, b); err != nil {
		return nil, err
	}
	words := make([]uint16, n)
	for i := range words {
		w := b[3*i : 3*i+3]
		if crc8(w[:2]) != w[2] {
			return nil, c.faulty("the checksum is wrong; the wires may be too long, the pull-up resistors too weak, or another chip is there")
		}
		words[i] = uint16(w[0])<<8 | uint16(w[1])
	}
	return words, nil
}

// command sends a command of 16 bits.
func (c *link) command(ctx context.Context, code uint16) error {
	return c.write(ctx, byte(code>>8), byte(code))
}

// fraction brings a word to 0 to 1.
func fraction(word uint16) float64 { return float64(word) / 0xffff }
