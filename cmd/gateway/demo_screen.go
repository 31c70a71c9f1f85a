package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"edgegateway/status"
)

// A scene is everything that the demo shows at one moment.
type scene struct {
	elapsed time.Duration // since the start
	report  status.Report
	counted counted
	skipped int64
	backlog int64 // of the last outage, not arrived yet
	waited  int64 // the most that waited since the last cut
	up      bool
	changed time.Duration // since the link was last cut or restored
	next    string        // what the plan does next
	frame   int
	events  []event
}

// An event is a line of what has happened.
type event struct {
	at   time.Duration
	text string
}

// clock is when it happened.
func (e event) clock() string { return clock(e.at) }

// clock shows a time since the start in whole seconds, the first as 1 s.
func clock(d time.Duration) string { return showDuration(max(d, time.Second)) }

const sceneWidth = 80

// lines draws the scene for a screen of the given height.
func (s scene) lines(height int) []line {
	r := s.report
	out := []line{
		spread(line{{bold, " gateway demo"}, {dim, "  a local broker, and a cloud that comes and goes"}}, line{{dim, "up " + clock(s.elapsed)}}),
		{{dim, " " + s.addresses()}},
		{},
		spread(line{{bold, " DEVICES"}}, line{{dim, rateText(r.Gateway.ReadingRate)}}),
	}
	for _, d := range r.Devices {
		out = append(out, deviceLine(d))
	}
	out = append(out, line{}, s.link(), s.waiting(), line{})
	c := s.counted
	lost := s.skippedForGood()
	out = append(out,
		spread(line{{bold, " COUNTED"}}, line{{dim, "message by message, at both ends"}}),
		columns(figure("published", c.Published, bold), figure("arrived", c.Arrived, bold), figure("still to come", c.Missing-lost, bold)),
		columns(figure("lost", lost, verdict(lost)), figure("duplicates", c.Duplicates, allowed(c.Duplicates)), figure("out of order", c.Disordered, verdict(c.Disordered))),
		line{{plain, "   written to disk "}, {bold, showBytes(r.Store.Written)}, {dim, fmt.Sprintf(" in %s, %s avoided", plural(r.Store.Commits, "commit"), plural(r.Store.Cancelled, "write"))}},
		line{})
	foot := line{{plain, " "}, {bold, "c"}, {plain, " cuts the link   "}, {bold, "p"}, {plain, " switches the pump   "}, {bold, "q"}, {plain, " quits"}, {dim, s.next}}
	if !s.up {
		foot[2].text = " restores the link   "
	}
	room := max(height-len(out)-2, 0)
	for _, e := range s.events[max(len(s.events)-room, 0):] {
		out = append(out, line{{dim, fmt.Sprintf(" %6s  ", e.clock())}, {plain, e.text}})
	}
	for len(out) < height-1 {
		out = append(out, line{})
	}
	return append(out[:min(len(out), height-1)], foot)
}

func (s scene) addresses() string {
	var parts []string
	for _, l := range s.report.Gateway.Listens {
		parts = append(parts, l.What+" "+l.Address)
	}
	return strings.Join(parts, "   ")
}

// skippedForGood is what can no longer arrive in order: nothing waits any more, and something is missing.
func (s scene) skippedForGood() int64 {
	if s.queued() > 0 {
		return 0 // on the way, as far as one can know
	}
	return s.skipped
}

func (s scene) queued() int64 {
	var n int64
	for _, c := range s.report.Clouds {
		n += c.Queued
	}
	return n
}

func deviceLine(d status.Device) line {
	l := line{{plain, "   " + pad(d.Topic+"/state", 20) + " "}}
	if !d.Online {
		return append(l, span{red, "offline: " + d.Reason})
	}
	if len(d.Values) == 0 {
		return append(l, span{dim, "no reading yet"})
	}
	for i, v := range d.Values {
		text := v.Channel + " "
		value := showValue(v.Value, v.Unit)
		if i > 0 {
			text = "  " + text
		}
		if l.width()+len([]rune(text+value)) > sceneWidth {
			break // the page shows all of them
		}
		l = append(l, span{dim, text}, span{plain, value})
	}
	return l
}

func (s scene) connected() bool {
	return !slices.ContainsFunc(s.report.Clouds, func(c status.Cloud) bool { return !c.Connected })
}

// link draws the wire. Something moves on it while messages arrive.
func (s scene) link() line {
	const width = 34
	wire := []rune(strings.Repeat("─", width))
	l := line{{bold, " LINK"}, {plain, "  gateway "}}
	switch {
	case !s.up:
		half := string(wire[:width/2-2])
		return append(l, span{dim, half}, span{red, " ╳  "}, span{dim, half}, span{plain, " cloud  "}, span{red, "cut for " + showDuration(s.changed)})
	case !s.connected():
		return append(l, span{dim, string(wire)}, span{plain, " cloud  "}, span{yellow, "connecting"})
	}
	moving := s.report.Clouds[0].SentRate != nil && *s.report.Clouds[0].SentRate > 0
	if moving {
		for i := s.frame % 9; i < width; i += 9 {
			wire[i] = '●'
		}
	}
	state := span{green, "up for " + showDuration(s.changed)}
	if s.backlog > 0 {
		state = span{yellow, "up, draining " + showCount(s.backlog)}
	}
	return append(l, span{green, string(wire)}, span{plain, " cloud  "}, state)
}

// waiting draws how much is buffered. The scale holds the most that waited since the cut, so a drain is a
// bar that gets shorter.
func (s scene) waiting() line {
	const width = 34
	n := s.queued()
	filled := int(n * width / scaleFor(max(s.waited, n)))
	l := line{{bold, " WAITS"}, {plain, "         "}, {yellow, strings.Repeat("█", filled)}, {dim, strings.Repeat("░", width-filled)}, {plain, "  "}}
	if n == 0 {
		return append(l, span{dim, "nothing"})
	}
	c := s.report.Clouds[0]
	text := plural(n, "message") + ", " + showBytes(c.QueuedBytes)
	return append(l, span{bold, text})
}

// scaleFor is the first of 25, 50, 100, 250, 500, 1000 and so on that n fits into.
func scaleFor(n int64) int64 {
	for top := int64(25); ; top *= 10 {
		for _, scale := range []int64{top, 2 * top, 4 * top} {
			if n <= scale {
				return scale
			}
		}
	}
}

// figure is a name and a number, in a third of the scene.
func figure(name string, n int64, style string) line {
	number := showCount(n)
	return line{{plain, "   " + pad(name, 21-len(number))}, {style, number}}
}

func columns(figures ...line) (l line) {
	for _, f := range figures {
		l = append(l, f...)
	}
	return l
}

// allowed is the style of what QoS 1 allows.
func allowed(n int64) string {
	if n == 0 {
		return green
	}
	return yellow
}

func verdict(n int64) string {
	if n == 0 {
		return green
	}
	return red
}

func rateText(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.1f readings/s", *v)
}

// spread puts right at the right end of the scene.
func spread(left, right line) line {
	gap := max(sceneWidth-1-left.width()-right.width(), 1)
	return append(append(left, span{plain, strings.Repeat(" ", gap)}), right...)
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(width-len([]rune(s)), 0))
}

// plainLine is the scene as one line, for output that is not a terminal.
func (s scene) plainLine() string {
	link := "up"
	switch {
	case !s.up:
		link = "CUT"
	case !s.connected():
		link = "connects"
	case s.backlog > 0:
		link = "draining"
	}
	return fmt.Sprintf("%6s  link %-8s  published %-7s arrived %-7s waiting %-6s lost %d  duplicates %d  out of order %d  written %s",
		clock(s.elapsed), link, showCount(s.counted.Published), showCount(s.counted.Arrived), showCount(s.queued()),
		s.skippedForGood(), s.counted.Duplicates, s.counted.Disordered, showBytes(s.report.Store.Written))
}
