package inotify

import (
	"bytes"
	"fmt"
)

// RefusalTracing is the field inotify.refusals: whether the system calls of inotify
// that fail are traced.
type RefusalTracing string

const (
	// RefusalsAuto traces them where no other system call of the node becomes
	// slower: see [FreeWays] of package bpf. It needs kernelCounters.
	RefusalsAuto RefusalTracing = ""
	// RefusalsOn traces them, if need be in a way that makes every system call of
	// the node some nanoseconds slower.
	RefusalsOn RefusalTracing = "true"
	// RefusalsOff does not trace them.
	RefusalsOff RefusalTracing = "false"
)

// UnmarshalJSON reads true, false or "auto".
func (r *RefusalTracing) UnmarshalJSON(b []byte) error {
	switch s := string(bytes.TrimSpace(b)); s {
	case `"auto"`:
		*r = RefusalsAuto
	case "true", "false":
		*r = RefusalTracing(s)
	default:
		return fmt.Errorf("%.40s does not select whether refused calls are traced: want true, false or auto, or leave the field out", s)
	}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (r RefusalTracing) MarshalJSON() ([]byte, error) {
	if r == RefusalsAuto {
		return []byte(`"auto"`), nil
	}
	return []byte(r), nil
}

// JSONSchema describes what UnmarshalJSON reads.
func (RefusalTracing) JSONSchema() string { return `{"enum":["auto",true,false]}` }

// RefusalSource is how failed calls are traced.
type RefusalSource struct {
	// RefusalsSource is ebpf_fexit, ebpf_kprobe_multi, ebpf_kretprobe, ebpf_tracepoint or
	// tracefs; off where they are not traced.
	RefusalsSource string `json:"refusals_source,omitempty"`
	// RefusalsReason is why it is not one that makes no other system call slower.
	RefusalsReason string `json:"refusals_source_reason,omitempty"`
}

// RefusalSourceOff is the name of no source.
const RefusalSourceOff = "off"
