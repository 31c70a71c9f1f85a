package topic_test

import (
	"fmt"
	"testing"

	"edgegateway/broker/topic"
)

// filters are what the clients of a site subscribe to: most want one device, some
// a kind of value of all.
func filters(n int) []string {
	all := make([]string, n)
	for i := range all {
		switch i % 10 {
		default:
			all[i] = fmt.Sprintf("site/room%d/device%d/state", i/100, i)
		case 8:
			all[i] = fmt.Sprintf("site/room%d/+/set", i/100)
		case 9:
			all[i] = fmt.Sprintf("site/room%d/#", i/100)
		}
	}
	return all
}

func BenchmarkTreeMatch(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var tree topic.Tree[int]
			for i, f := range filters(n) {
				tree.Add(f, i)
			}
			names := make([]string, 256)
			for i := range names {
				k := i * n / len(names)
				names[i] = fmt.Sprintf("site/room%d/device%d/state", k/100, k)
			}
			found, i := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				tree.Match(names[i%len(names)], func(int) { found++ })
				i++
			}
			b.ReportMetric(float64(found)/float64(i), "found/op")
		})
	}
}

func BenchmarkTreeAddRemove(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var tree topic.Tree[int]
			for i, f := range filters(n) {
				tree.Add(f, i)
			}
			b.ReportAllocs()
			for b.Loop() {
				tree.Add("site/room1/another/state", 1)
				tree.Remove("site/room1/another/state", 1)
			}
		})
	}
}

func retained(n int) *topic.Names[int] {
	var names topic.Names[int]
	for i := range n {
		names.Set(fmt.Sprintf("site/room%03d/device%06d/state", i/100, i), i)
	}
	return &names
}

// BenchmarkReplay is all values for one subscriber, in pieces of 1000.
func BenchmarkReplay(b *testing.B) {
	for _, filter := range []string{"#", "site/+/+/state", "site/room500/#"} {
		b.Run(filter, func(b *testing.B) {
			names := retained(100_000)
			found := 0
			b.ReportAllocs()
			for b.Loop() {
				found = 0
				for after, more := "", true; more; {
					after, more = names.MatchFrom(filter, after, 1000, func(string, int) bool { found++; return true })
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(found), "ns/value")
		})
	}
}

func BenchmarkNamesSet(b *testing.B) {
	names := retained(100_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		names.Set("site/room500/device050042/state", i)
	}
}

func BenchmarkNamesSetDelete(b *testing.B) {
	names := retained(100_000)
	b.ReportAllocs()
	for b.Loop() {
		names.Set("site/room500/device050042/other", 1)
		names.Delete("site/room500/device050042/other")
	}
}
