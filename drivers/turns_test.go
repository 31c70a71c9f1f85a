package drivers_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
)

func TestTurnsGoOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns drivers.Turns
		var order []int
		start := time.Now()
		for i := range 5 {
			go func() {
				release, err := turns.Take(t.Context(), "bus 1")
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, i)
				time.Sleep(time.Second)
				release()
			}()
			synctest.Wait() // so that they stand in line in this order
		}
		release, err := turns.Take(t.Context(), "bus 2")
		if err != nil || time.Since(start) != 0 {
			t.Errorf("another bus: %v after %v", err, time.Since(start))
		}
		release()
		release, err = turns.Take(t.Context(), "bus 1")
		if want := []int{0, 1, 2, 3, 4}; err != nil || time.Since(start) != 5*time.Second || !slices.Equal(order, want) {
			t.Errorf("%v after %v, order %v", err, time.Since(start), order)
		}
		release()
	})
}

func TestWhoWaitsForATurnMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns drivers.Turns
		release, err := turns.Take(t.Context(), "bus 1")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := turns.Take(ctx, "bus 1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("took a turn that somebody has: %v", err)
		}
		release()
		for range 100 { // what is free and what has ended are both ready
			if _, err := turns.Take(ctx, "bus 1"); err == nil {
				t.Fatal("an ended context got a turn")
			}
		}
		if release, err = turns.Take(t.Context(), "bus 1"); err != nil {
			t.Errorf("after all have left: %v", err)
		}
		release()
	})
}

func TestWithoutTurnsEverybodyPasses(t *testing.T) {
	var turns *drivers.Turns
	for range 2 {
		if _, err := turns.Take(t.Context(), "bus 1"); err != nil {
			t.Error(err)
		}
	}
}

func TestAKindMayTakeLongerThanOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, start: time.Now()}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		slow := func(context.Context, func(any) error, drivers.Ports) (drivers.Device, error) {
			return faces(&device{rig: r, sample: func(_ context.Context, n int) (drivers.Reading, error) {
				time.Sleep(8 * time.Second) // more than the usual limit, and it does not look at ctx
				return reading(n), nil
			}}), nil
		}
		if err := drivers.Run(ctx, drivers.Spec{Every: time.Minute, Kind: drivers.Kind{Open: slow, Timeout: 10 * time.Second}}, r); err != nil {
			t.Error(err)
		}
		r.wantEvents("8s online", "8s x=1", "15s offline: "+drivers.ErrStopped.Error())
	})
}
