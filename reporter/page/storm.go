package page

import (
	"fmt"
	"slices"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/safetext"
)

// A producer is a storm as for the alert NodetuneLogStorm: it writes more than
// stormBytesPerSecond, and at least stormFactor times the average of the others.
const (
	stormBytesPerSecond = 1 << 20
	stormFactor         = 5
)

// logStorms is one trouble for the producer that writes far more than the others.
func logStorms(in Input) []Trouble {
	u, ok := diskUsage(in)
	if !ok {
		return nil
	}
	p, times, ok := storm(u.Producers)
	if !ok {
		return nil
	}
	name := logName(p.Workload, p.Path)
	t := Trouble{Kind: KindLogStorm, State: Warning, Summary: fmt.Sprintf("%s writes %s of logs a second", name, field.Size(uint64(rate(p))))}
	if times > 0 {
		t.Summary += fmt.Sprintf(", %s as much as the others on average", manyTimes(times))
	}
	if soon := logsFull(u); soon != "" {
		t.Summary += ": " + soon
	}
	t.Cause = fmt.Sprintf("%s has %s of logs", name, field.Size(p.Bytes))
	if r, ok := furthestBehind(u, p); ok {
		t.Cause += fmt.Sprintf(", of which %s has %s unread", readerName(r.Comm, r.PID, r.Who), field.Size(r.LagBytes))
	}
	t.Next, t.Then = in.showLog(p), "shows what it writes: lower its log level, or stop it"
	t.did(in, "", "nothing: nodetune slows down no writer", "rotate")
	return []Trouble{t}
}

// storm is the producer that writes most, and how many times the average of the others
// that is; 0 times where the others write nothing.
func storm(all []logs.Producer) (most producer, times float64, ok bool) {
	most, ok = fastest(disk.Usage{Producers: slices.DeleteFunc(slices.Clone(all), func(p logs.Producer) bool { return p.Estimated })})
	if !ok || rate(most) <= stormBytesPerSecond {
		return most, 0, false
	}
	others, sum := -1, -rate(most)
	for _, p := range all {
		if !p.Estimated {
			others, sum = others+1, sum+rate(p)
		}
	}
	if others < 1 || sum < 1 {
		return most, 0, true
	}
	times = rate(most) / (sum / float64(others))
	return most, times, times >= stormFactor
}

func manyTimes(n float64) string {
	if n >= 1000 {
		return "over 1000 times"
	}
	return fmt.Sprintf("%.0f times", n)
}

// logsFull is when the filesystem of the logs is full, or the kubelet evicts.
func logsFull(u disk.Usage) string {
	for _, f := range u.Filesystems {
		if !f.Measured() || !slices.Contains(f.Roles, filesystem.RoleLogs) {
			continue
		}
		switch {
		case f.SecondsToEviction != nil && *f.SecondsToEviction < farSeconds:
			return fmt.Sprintf("%s fills, and the kubelet evicts pods in %s", safetext.String(f.Path), secondsText(f.SecondsToEviction))
		case f.SecondsToFull != nil && *f.SecondsToFull < farSeconds:
			return fmt.Sprintf("%s is full in %s", safetext.String(f.Path), secondsText(f.SecondsToFull))
		}
	}
	return ""
}

// furthestBehind is the collector with the most of p's logs unread.
func furthestBehind(u disk.Usage, p producer) (logs.Reader, bool) {
	for _, r := range u.Readers { // the furthest behind first
		if r.LagBytes > 0 && !r.Interactive && (p.Pod != "" && r.Log.Namespace == p.Namespace && r.Log.Pod == p.Pod && r.Log.Container == p.Container || r.Path == p.Path) {
			return r, true
		}
	}
	return logs.Reader{}, false
}

// showLog is the line that shows the end of what p writes.
func (in Input) showLog(p producer) string {
	switch {
	case isDNSName(p.Namespace) && isDNSName(p.Pod) && isDNSName(p.Container):
		return fmt.Sprintf("kubectl --namespace %s logs %s --container %s --tail 20", p.Namespace, p.Pod, p.Container)
	case isUnitName(p.Unit):
		return "sudo journalctl --lines 20 --unit " + p.Unit
	case p.Kind == logs.KindFile && isFileName(p.Path):
		return "sudo tail --lines 20 " + p.Path
	}
	return in.nodetune("disk")
}
