package sysctl

import (
	"fmt"
	"math"

	"github.com/nodetune/nodetune/internal/kernelmem"
)

// Explanation describes one key: its value, default, memory cost and failures.
type Explanation struct {
	Rule
	Why   string `json:"why,omitempty"`
	Value Value  `json:"value,omitzero"` // running
	// KernelDefault is the value that the kernel sets at boot. One that is
	// computed from the size of memory is accurate to some percent.
	KernelDefault Value `json:"kernelDefault,omitzero"`
	Computed      bool  `json:"kernelDefaultComputed,omitempty"`
	// Memory is what the kernel would hold if one user used all of it.
	Memory []Cost `json:"memoryIfAllUsed,omitempty"`
	// Breaks describes which call fails, with which error, at which count.
	Breaks string `json:"breaks,omitempty"`
	Err    error  `json:"-"`
}

// Cost is kernel memory for one way to use a key up.
type Cost struct {
	Of        string `json:"of"`
	Units     Value  `json:"units"` // the running value, or the floor where that is larger
	UnitBytes int64  `json:"unitBytes"`
	Bytes     int64  `json:"bytes"`
}

func (c Cost) String() string {
	return fmt.Sprintf("%s for %s, %d bytes each", bytesText(c.Bytes), c.Of, c.UnitBytes)
}

// Explain explains rule on machine m. got is the current reading of the key.
func Explain(rule Rule, m Machine, got Reading) Explanation {
	e := Explanation{Rule: rule, Why: rule.Why, Value: got.Value, KernelDefault: Unknown, Err: got.Err}
	if v, exact, ok := KernelDefault(rule.Key, m); ok {
		e.KernelDefault, e.Computed = v, !exact
	}
	if got.Err == nil {
		e.Memory, e.Breaks = costs(rule.Key, max(got.Value, rule.Want)), impact(rule.Key, got.Value)
	}
	return e
}

// costs returns the kernel memory that v units pin, by the measurements at [kernelmem.WatchBytes].
func costs(k Key, v Value) []Cost {
	var all []Cost
	add := func(of string, unitBytes int64) {
		bytes := int64(math.MaxInt64)
		if int64(v) <= bytes/unitBytes {
			bytes = int64(v) * unitBytes
		}
		all = append(all, Cost{of, v, unitBytes, bytes})
	}
	switch k {
	case MaxUserWatches, UserMaxWatches:
		add("files of ext4", 1224)
		add("container files (overlayfs), lower layer", 2137)
		add("container files, as nodetune plans", kernelmem.WatchBytes)
		add("container files, copied up", 3473)
	case EpollMaxUserWatches:
		add("epoll registrations", kernelmem.EpollWatchBytes)
	}
	return all
}

// Initial returns the range of values that k can have after a boot when no file
// sets it, and where the value comes from. running is the current value.
func Initial(k Key, m Machine, running Value) (least, most Value, by string) {
	if k == FileMax && running == math.MaxInt64 {
		// manager_startup of systemd since v240 (bump-proc-sys-fs-file-max), before
		// systemd-sysctl runs. No other program writes this number.
		return running, running, "systemd, which raises it to the maximum at startup,"
	}
	v, exact, ok := KernelDefault(k, m)
	switch {
	case !ok:
		return Unknown, Unknown, ""
	case exact:
		return v, v, "the kernel's default"
	}
	return v * 9 / 10, v * 11 / 10, "the kernel's default for this size of memory"
}
