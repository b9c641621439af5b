package disk

import (
	"fmt"
	"slices"
)

// Severity says how bad something is, with room between bad and good so that an
// alarm does not flap.
type Severity int

// The levels of an alarm.
const (
	Clear   Severity = iota // good, also for ending an alarm
	Between                 // neither begins nor ends one
	Bad
)

var severities = []string{"clear", "between", "bad"}

// MarshalText writes clear, between or bad.
func (l Severity) MarshalText() ([]byte, error) { return []byte(severities[l]), nil }

// UnmarshalText reads what MarshalText writes.
func (l *Severity) UnmarshalText(b []byte) error {
	i := slices.Index(severities, string(b))
	if i < 0 {
		return fmt.Errorf("%q is not a level: want one of %v", b, severities)
	}
	*l = Severity(i)
	return nil
}

// Assessment is one judgement of a pass.
type Assessment struct {
	Severity Severity `json:"level"`
	Reason   string   `json:"reason"`
	Message  string   `json:"message"`
}

// Reasons of an Alarm, in CamelCase for conditions of a Node.
const (
	ReasonSpace        = "LogDiskSpaceEnough"
	ReasonSpaceLow     = "LogDiskSpaceLow"
	ReasonInodesLow    = "LogDiskInodesLow"
	ReasonEvictionSoon = "EvictionSoon"
	ReasonFullSoon     = "LogDiskFullSoon"
	ReasonUnusable     = "LogDiskUnusable"
	ReasonReading      = "CollectorsReading"
	ReasonStalled      = "CollectorStalled"
	ReasonUnfollowed   = "LogsUnfollowed"
)
