package disk

import (
	"errors"
	"path"
	"strings"
	"time"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/field"
)

// Mode says whether nodetune may act upon files.
type Mode string

// The modes. docs/disks-and-logs.md, "Modes", lists what each may do.
const (
	Observe Mode = "observe"   // see, predict, report, propose
	Assist  Mode = "assist"    // act where the kubelet does not or is too late
	Own     Mode = "exclusive" // the kubelet's rotation is switched off
)

// Policy is the block disk of the configuration.
type Policy struct {
	Mode Mode `json:"mode"`
	// LogPaths are the directories whose files are logs.
	LogPaths []string `json:"logPaths"`
	// AllowOtherLogPaths lets LogPaths name directories that hold more than logs
	// by convention. The reader of the configuration checks it.
	AllowOtherLogPaths bool `json:"allowOtherLogPaths"`
	// Filesystems are further paths whose filesystems are watched.
	Filesystems []string                  `json:"filesystems,omitempty"`
	Pressure    filesystem.PressurePolicy `json:"pressure"`
	Readers     logs.ReadersPolicy        `json:"readers"`
	// StatfsDeadline is how long a filesystem may take to answer.
	StatfsDeadline field.Duration `json:"statfsDeadline"`
	// GrowthWindow is over how long the growth of a filesystem is taken.
	GrowthWindow field.Duration `json:"growthWindow"`
	// FullScanEvery is how often directories are listed that did not change.
	FullScanEvery field.Duration `json:"fullScanEvery"`
	// MaxRows bounds each list of producers, readers and files; the largest are
	// reported.
	MaxRows int `json:"maxRows"`
	// Rotations are the logs of the host that nodetune rotates; none by default.
	Rotations []rotate.Rule  `json:"rotations,omitempty"`
	Reclaim   reclaim.Policy `json:"reclaim"`
}

// DefaultPolicy watches /var/log and acts upon nothing.
func DefaultPolicy() Policy {
	return Policy{
		Mode:     Observe,
		LogPaths: []string{"/var/log"},
		Pressure: filesystem.PressurePolicy{
			// Above the 10 % at which the kubelet evicts and taints for at least
			// five minutes; 15 to 20 leaves room to act before it does.
			AvailPercent:        15,
			RecoverAvailPercent: 20,
			InodesPercent:       10, // the kubelet evicts at 5
			Horizon:             field.Duration(10 * time.Minute),
		},
		Readers: logs.ReadersPolicy{
			// Fluent Bit looks for new files every 60 s by default.
			StalledAfter:    field.Duration(2 * time.Minute),
			UnfollowedAfter: field.Duration(2 * time.Minute),
			Uncollected:     []string{},
			RotateWait:      field.Duration(5 * time.Second), // Fluent Bit's Rotate_Wait
		},
		StatfsDeadline: field.Duration(2 * time.Second),
		// Of the windows tried against a simulated node, two minutes gave the
		// longest warning without a false alarm.
		GrowthWindow:  field.Duration(2 * time.Minute),
		FullScanEvery: field.Duration(5 * time.Minute),
		MaxRows:       1000,
		Reclaim:       reclaim.DefaultPolicy(),
	}
}

// Validate returns every wrong field of p, joined.
func (p Policy) Validate() error {
	var errs []error
	wrong := func(ok bool, at, format string, args ...any) {
		if !ok {
			errs = append(errs, field.Errorf(at, format, args...))
		}
	}
	wrong(p.Mode == Observe || p.Mode == Assist || p.Mode == Own,
		"mode", "%q is not a mode: write observe, assist or exclusive", p.Mode)
	paths := func(at string, list []string) {
		for i, s := range list {
			wrong(path.IsAbs(s) && path.Clean(s) == s, field.Index(at, i),
				"%q is not an absolute path without \"..\", \"//\" or a slash at its end", s)
			wrong(s != "/" && s != "/proc" && s != "/sys" && s != "/dev", field.Index(at, i),
				"%q is not a directory of logs: name the directory below it", s)
		}
	}
	wrong(len(p.LogPaths) > 0, "logPaths", "is empty: name at least one directory, for example /var/log")
	paths("logPaths", p.LogPaths)
	for i, s := range p.Filesystems {
		wrong(path.IsAbs(s) && path.Clean(s) == s, field.Index("filesystems", i),
			"%q is not an absolute path without \"..\", \"//\" or a slash at its end", s)
	}
	share := func(at string, v float64) {
		wrong(v >= 0 && v < 100, at, "%v is not a percentage: write a number from 0 to below 100", v)
	}
	share("pressure.availPercent", p.Pressure.AvailPercent)
	share("pressure.recoverAvailPercent", p.Pressure.RecoverAvailPercent)
	share("pressure.inodesPercent", p.Pressure.InodesPercent)
	wrong(p.Pressure.RecoverAvailPercent >= p.Pressure.AvailPercent, "pressure.recoverAvailPercent",
		"%v is below availPercent (%v): pressure would end before it began",
		p.Pressure.RecoverAvailPercent, p.Pressure.AvailPercent)
	span := func(at string, d field.Duration, least time.Duration) {
		wrong(d.D() >= least, at, "%v is too short: write at least %v", d, least)
	}
	span("pressure.horizon", p.Pressure.Horizon, 0)
	span("readers.stalledAfter", p.Readers.StalledAfter, time.Second)
	span("readers.unfollowedAfter", p.Readers.UnfollowedAfter, time.Second)
	for i, s := range p.Readers.Uncollected {
		_, err := path.Match(s, "")
		wrong(err == nil && strings.Count(s, "/") == 1, field.Index("readers.excludePods", i), "%q is not NAMESPACE/POD: write for example logging/fluent-bit-*, or kube-system/*", s)
	}
	span("readers.rotateWait", p.Readers.RotateWait, 0)
	span("statfsDeadline", p.StatfsDeadline, 10*time.Millisecond)
	span("growthWindow", p.GrowthWindow, time.Second)
	span("fullScanEvery", p.FullScanEvery, time.Second)
	for i, r := range p.Rotations {
		r.Validate(field.Index("rotations", i), p.LogPaths, wrong)
	}
	p.Reclaim.Validate(wrong)
	wrong(p.MaxRows > 0, "maxRows", "%d leaves nothing to report: write at least 1", p.MaxRows)
	return errors.Join(errs...)
}

// ReclaimConfig returns what reclaiming takes from p.
func (p Policy) ReclaimConfig() reclaim.Config {
	return reclaim.Config{
		LogPaths: p.LogPaths, Rotations: p.Rotations,
		RecoverAvailPercent: p.Pressure.RecoverAvailPercent, Policy: p.Reclaim,
	}
}
