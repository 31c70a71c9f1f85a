package main

import (
	"context"
	"fmt"
	"time"

	"edgegateway/buffer"
)

// We chose these.
const (
	diskLook   = time.Second
	diskSilent = 15 * time.Second // a commit that takes longer is one that may never end
)

// watchDisk keeps alarm/disk until ctx ends: it is there as long as the disk does not take what the gateway
// has to keep. The watchdog and the health of the broker know nothing of it, because a restart heals no disk
// and would end local life.
func (g *gateway) watchDisk(ctx context.Context) error {
	look := time.NewTicker(diskLook)
	defer look.Stop()
	topic := alarmTopic + "disk"
	told := len(g.broker.Retained(g.cfg.Prefix+"/"+topic, 1)) > 0 // by an earlier run
	what := ""
	for {
		kind, sentence := diskTrouble(g.store)
		switch {
		case kind == "" && told:
			g.say(topic, nil)
			g.log.Info("the disk takes what is to be kept again")
			told = false
		case kind != "" && kind != what:
			g.alarm("disk", sentence, time.Now())
			g.log.Error("the disk does not take what is to be kept; local traffic goes on", "err", sentence)
			told = true
		}
		what = kind
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
	}
}

// diskTrouble says what is wrong, as one word that stays the same while it is, and as a sentence.
func diskTrouble(s *buffer.Store) (kind, sentence string) {
	st := s.Stats()
	switch late := s.Late(); {
	case s.Err() != nil:
		return "failed", fmt.Sprintf("The store has failed: %v.", s.Err())
	case late != nil:
		return "late", fmt.Sprintf("The disk has taken nothing since the start (%v). Sessions and messages that must be kept are not accepted.", late)
	case st.Full:
		return "full", fmt.Sprintf("The disk, or the store's max_size, is full (%s). Messages that must be kept are not accepted until there is room.", st.Err)
	case st.Err != "":
		return "fails", fmt.Sprintf("The disk takes nothing (%s). Messages that must be kept wait, and then are not accepted.", st.Err)
	case st.Busy > diskSilent:
		return "silent", fmt.Sprintf("The disk has not answered for %s. Messages that must be kept wait, and then are not accepted.", st.Busy.Round(time.Second))
	}
	return "", ""
}
