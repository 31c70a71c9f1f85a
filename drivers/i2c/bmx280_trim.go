package i2c

import (
	"bytes"
	"context"
	"encoding/binary"

	"edgegateway/drivers"
)

// A trimming holds what the maker measured of one BME280 or BMP280; the names are
// those of the datasheet, BST-BME280-DS002 table 16.
type trimming struct {
	t1                             uint16
	t2, t3                         int16
	p1                             uint16
	p2, p3, p4, p5, p6, p7, p8, p9 int16
	h1, h3                         uint8
	h2, h4, h5                     int16
	h6                             int8
}

// bmxCalibLength is how many bytes there are from 0x88 on.
const bmxCalibLength = 26

// same makes sure that the chip is the one whose trimming is known. To plug another one
// in takes a moment, too short for a device that is sampled every minute to notice; its
// values would be wrong by some degrees from then on. A second look tells a wire with a
// bad contact from that.
func (d *bmx280) same(ctx context.Context) error {
	for range 2 {
		b, err := d.read(ctx, bmxCalib, bmxCalibLength)
		if err != nil || bytes.Equal(b, d.calibration) {
			return err
		}
	}
	return d.faulty("its calibration is another one than before; was the chip replaced? It is opened anew: %w", drivers.ErrGone)
}

func (d *bmx280) readTrimming(ctx context.Context) error {
	b, err := d.read(ctx, bmxCalib, bmxCalibLength)
	if err != nil {
		return err
	}
	d.calibration = b
	t := &d.trim
	u := func(i int) uint16 { return binary.LittleEndian.Uint16(b[i:]) }
	s := func(i int) int16 { return int16(u(i)) }
	t.t1, t.t2, t.t3 = u(0), s(2), s(4)
	t.p1, t.p2, t.p3, t.p4, t.p5, t.p6, t.p7, t.p8, t.p9 = u(6), s(8), s(10), s(12), s(14), s(16), s(18), s(20), s(22)
	if t.t1 == 0 || t.t1 == 0xffff || t.p1 == 0 || t.p1 == 0xffff {
		return d.untrimmed()
	}
	if !d.humid {
		return nil
	}
	h, err := d.read(ctx, bmxCalibH, 7)
	if err != nil {
		return err
	}
	t.h1, t.h2, t.h3, t.h6 = b[25], int16(binary.LittleEndian.Uint16(h)), h[2], int8(h[6])
	// Two numbers of 12 bits share a byte: the sign is in their high parts.
	t.h4 = int16(int8(h[3]))<<4 | int16(h[4]&0x0f)
	t.h5 = int16(int8(h[5]))<<4 | int16(h[4]>>4)
	if t.h2 == 0 || t.h2 == -1 {
		return d.untrimmed()
	}
	return nil
}

// untrimmed: a chip whose values are all ones or zeros is not there, or broken.
func (d *bmx280) untrimmed() error {
	return d.faulty("its calibration cannot be read; check its wiring and power")
}

// The computations are those of the datasheet in floating point (appendix 8.1 of
// BST-BME280-DS002). temperature returns degrees Celsius, and the fine value that
// the other two need.
func (t *trimming) temperature(raw uint32) (celsius, fine float64) {
	d1 := float64(raw)/16384 - float64(t.t1)/1024
	d2 := float64(raw)/131072 - float64(t.t1)/8192
	fine = d1*float64(t.t2) + d2*d2*float64(t.t3)
	return fine / 5120, fine
}

// pressure returns pascals. Without a calibration it is infinite or not a number.
func (t *trimming) pressure(raw uint32, fine float64) float64 {
	x := fine/2 - 64000
	offset := (x*x*float64(t.p6)/32768+x*float64(t.p5)*2)/4 + float64(t.p4)*65536
	sensitivity := (1 + (float64(t.p3)*x*x/524288+float64(t.p2)*x)/524288/32768) * float64(t.p1)
	p := (1048576 - float64(raw) - offset/4096) * 6250 / sensitivity
	return p + (float64(t.p9)*p*p/2147483648+p*float64(t.p8)/32768+float64(t.p7))/16
}

// humidity returns percent, cut to 0 to 100 as the datasheet does.
func (t *trimming) humidity(raw uint32, fine float64) float64 {
	x := fine - 76800
	h := (float64(raw) - (float64(t.h4)*64 + float64(t.h5)/16384*x)) *
		(float64(t.h2) / 65536 * (1 + float64(t.h6)/67108864*x*(1+float64(t.h3)/67108864*x)))
	h *= 1 - float64(t.h1)*h/524288
	return min(max(h, 0), 100)
}
