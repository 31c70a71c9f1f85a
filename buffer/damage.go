package buffer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Damage is what happened to a store that was found damaged. It is kept in the
// store until a person has seen it: see [Store.ClearDamage].
type Damage struct {
	At       time.Time `json:"at"`
	Reason   string    `json:"reason"`
	SetAside string    `json:"set_aside,omitempty"` // where the damaged file is now; "" if there was nothing left of it
	Salvaged *Salvaged `json:"salvaged,omitempty"`  // what was kept; nil: nothing, the store began empty
}

// unsalvaged ends the name of a damaged file of which nothing could be copied, for
// want of space for example. It may be all that is left of its messages, so it does
// not count among those of which only the newest stay.
const unsalvaged = ".unsalvaged"

// String is one sentence.
func (d *Damage) String() string {
	aside := "and nothing is left of it"
	if d.SetAside != "" {
		aside = "and is set aside as " + d.SetAside
	}
	text := fmt.Sprintf("the store was found damaged at %s (%s) %s: ", d.At.UTC().Format("2006-01-02 15:04:05 UTC"), d.Reason, aside)
	switch {
	case d.Salvaged == nil && d.SetAside != "":
		return text + "nothing could be copied out of it, so it began empty and what was queued is still in that file, which is never deleted; " +
			"with enough room \"gateway salvage-store FILE NEW\" copies what can be read of it, and \"gateway restore NEW\", with the gateway stopped, puts that in the place of the present store, which is kept beside it"
	case d.Salvaged == nil:
		return text + "nothing could be kept, it began empty"
	}
	t := d.Salvaged.Total()
	lost := fmt.Sprintf("%d are known to be lost", t.Lost)
	switch {
	case t.Lost == 0 && t.More:
		lost = "a part could not be read"
	case t.Lost == 0:
		lost = "none is missing"
	case t.More:
		lost += ", and more may be"
	}
	return text + fmt.Sprintf("%d messages and values were kept, %s", t.Kept, lost)
}

// Where the last damage is noted: in a table of the store, so that it lives as long
// as what came out of it.
var (
	damageTable = "buffer.damage"
	damageKey   = "last"
)

// asidesKept is how many damaged files are kept beside the store; we chose it. They
// may take as much room as Config.MaxSize together, but for the newest.
const asidesKept = 3

func salvagedPath(path string) string { return path + ".salvaged" }

// damaged deals with a file that must not be opened: what can be kept of it takes
// its place.
func (s *Store) damagedFile(o *options, damage error) error {
	if err := refuseNewer(s.path); err != nil {
		return err
	}
	d := &Damage{At: time.Now().UTC().Truncate(time.Millisecond), Reason: damage.Error()}
	aside := fmt.Sprintf("%s.corrupt-%s", s.path, d.At.Format("20060102T150405.000Z"))
	d.SetAside = aside
	s.log.Warn("store damaged; what can be read of it is copied", "path", s.path, "err", damage)

	fresh := salvagedPath(s.path)
	s.deleteAsides(asidesKept - 1)
	kept, err := o.salvage(s.path, fresh)
	if err != nil && outOfSpace(err) && s.deleteAsides(0) > 0 {
		kept, err = o.salvage(s.path, fresh)
	}
	switch {
	case errors.Is(err, ErrLocked):
		return err
	case err == nil:
		d.Salvaged = &kept
		if err = noteDamageIn(fresh, d); err != nil {
			d.Salvaged = nil
		}
	}
	if d.Salvaged == nil {
		os.Remove(fresh) // lostFile must not find it
		aside += unsalvaged
		d.SetAside = aside
	}
	// Until here everything is as it was. The two renames are not one step: what
	// happens between them, lostFile puts right.
	if err := os.Rename(s.path, aside); err != nil {
		return fmt.Errorf("set %s aside, which is damaged (%w): %w", s.path, damage, err)
	}
	if d.Salvaged != nil {
		err = os.Rename(fresh, s.path)
		if err == nil {
			err = syncDir(filepath.Dir(s.path))
		}
		if err != nil {
			return fmt.Errorf("put what was kept of %s in its place: %w", aside, err)
		}
	}
	s.tell(o, d, damage, err)
	return nil
}

// lostFile deals with a file that is gone or empty although there was a store.
func (s *Store) lostFile(o *options) error {
	if _, err := os.Stat(salvagedPath(s.path)); err == nil {
		// The last run ended after the damaged file was set aside.
		if err := os.Rename(salvagedPath(s.path), s.path); err != nil {
			return fmt.Errorf("put what was kept of %s in its place: %w", s.path, err)
		}
		return nil
	}
	err := errors.New("the file is missing or empty, although there was a store")
	d := &Damage{At: time.Now().UTC().Truncate(time.Millisecond), Reason: err.Error()}
	if list := s.asides(unsalvaged); len(list) > 0 {
		d.SetAside = list[0].path // no fresh file could be made either when it was set aside
	}
	s.tell(o, d, err, nil)
	return nil
}

// tell tells everyone. salvage is why nothing could be kept.
func (s *Store) tell(o *options, d *Damage, damage, salvage error) {
	s.damage = d
	facts := []any{"path", s.path, "set_aside", d.SetAside, "err", damage}
	if d.Salvaged == nil {
		if salvage != nil {
			facts = append(facts, "salvage_err", salvage)
		}
		if d.SetAside != "" {
			facts = append(facts, "get_its_messages", "gateway salvage-store "+d.SetAside+" NEW")
		}
		s.log.Error("store damaged; starting with an empty one", facts...)
	} else {
		t := d.Salvaged.Total()
		facts = append(facts, "kept", t.Kept, "lost", t.Lost, "more_may_be_lost", t.More)
		s.log.Error("store damaged; what could be read was kept", facts...)
		for _, p := range slices.Concat(d.Salvaged.Queues, d.Salvaged.Tables) {
			if p.Lost > 0 || p.More {
				s.log.Error("incomplete after the damage", "name", p.Name, "kept", p.Kept, "lost", p.Lost, "more_may_be_lost", p.More)
			}
		}
	}
	o.events(Event{Path: s.path, Err: damage, Damage: *d, SetAside: d.SetAside})
}

// refuseNewer returns an error if a newer version wrote the file: what this one
// finds wrong with it may be right.
func refuseNewer(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return nil // it will be said elsewhere
	}
	defer f.Close()
	d, err := openDamaged(f)
	if err != nil {
		return nil
	}
	if err := (&salvage{d: d}).directory(); errors.Is(err, ErrNewer) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

type aside struct {
	path string
	size int64
}

// asides are the damaged files beside the store whose names have this ending behind
// the time, the newest first.
func (s *Store) asides(ending string) (list []aside) {
	dir, name := filepath.Split(s.path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return nil
	}
	for _, e := range slices.Backward(entries) { // sorted by name
		if ok, err := filepath.Match(escape(name)+".corrupt-????????T*Z"+ending, e.Name()); err != nil || !ok {
			continue
		}
		a := aside{path: filepath.Join(dir, e.Name())}
		if info, err := e.Info(); err == nil {
			a.size = info.Size()
		}
		list = append(list, a)
	}
	return list
}

// deleteAsides deletes all but the newest of the damaged files that were salvaged,
// and returns how many it deleted.
func (s *Store) deleteAsides(keep int) (deleted int) {
	room := s.cfg.MaxSize
	for _, a := range s.asides("") {
		if room -= a.size; keep > 0 && room >= 0 {
			keep--
			continue
		}
		if err := os.Remove(a.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("an older damaged store file can not be deleted", "path", a.path, "err", err)
			continue
		}
		deleted++
		s.log.Warn("an older damaged store file was deleted, to make room for the next", "path", a.path)
	}
	return deleted
}

// escape keeps filepath.Match from reading name as a pattern.
func escape(name string) string {
	var b []byte
	for i := range len(name) {
		switch name[i] {
		case '*', '?', '[', '\\':
			b = append(b, '\\')
		}
		b = append(b, name[i])
	}
	return string(b)
}

func noteDamageIn(path string, d *Damage) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockTimeout, PageSize: pageSize, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		return err
	}
	return errors.Join(noteDamage(db, d), db.Close())
}

func noteDamage(db *bbolt.DB, d *Damage) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		bucket := []byte(tablePrefix + damageTable)
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		k := diskKey(damageKey)
		return b.Put(k, diskValue(bucket, k, &put{key: damageKey, value: text}))
	})
}

// noteNews notes the damage that this Open found and could not note in a salvaged file.
func (s *Store) noteNews(db *bbolt.DB) error {
	s.mu.Lock()
	d := s.damage
	s.mu.Unlock()
	if d == nil || d.Salvaged != nil {
		return nil
	}
	return noteDamage(db, d)
}

// loadDamage reads the note, or writes it if there is news.
func (s *Store) loadDamage() error {
	if s.damage != nil && s.damage.Salvaged == nil {
		return s.noteNews(s.db)
	}
	text, ok, err := s.Table(damageTable).Get([]byte(damageKey))
	if err != nil || !ok {
		return err
	}
	d := new(Damage)
	if err := json.Unmarshal(text, d); err != nil {
		s.log.Warn("the note of the last damage can not be read", "err", err)
		return nil
	}
	s.damage = d
	return nil
}

// ClearDamage forgets the damage of [Stats].Damage: somebody has seen it. The files
// that were set aside stay.
func (s *Store) ClearDamage(ctx context.Context) error {
	done := make(chan error, 1)
	c := s.Begin()
	c.Delete(s.Table(damageTable), []byte(damageKey), Sync)
	c.Commit(func(err error) { done <- err })
	select {
	case err := <-done:
		if err == nil {
			s.mu.Lock()
			s.damage = nil
			s.mu.Unlock()
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
