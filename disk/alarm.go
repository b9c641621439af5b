package disk

import (
	"fmt"
	"slices"
)

// Level says how bad something is, with room between bad and good so that an
// alarm does not flap.
type Level int

// The levels of an alarm.
const (
	Clear   Level = iota // good, also for ending an alarm
	Between              // neither begins nor ends one
	Bad
)

var levels = []string{"clear", "between", "bad"}

// MarshalText writes clear, between or bad.
func (l Level) MarshalText() ([]byte, error) { return []byte(levels[l]), nil }

// UnmarshalText reads what MarshalText writes.
func (l *Level) UnmarshalText(b []byte) error {
	i := slices.Index(levels, string(b))
	if i < 0 {
		return fmt.Errorf("%q is not a level: want one of %v", b, levels)
	}
	*l = Level(i)
	return nil
}

// Alarm is one judgement of a pass.
type Alarm struct {
	Level   Level  `json:"level"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
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

// Size writes n for people, with three significant digits.
func Size(n uint64) string {
	v, unit := float64(n), 0
	for v >= 1000 && unit < 6 {
		v /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	digits := 0
	if v < 10 {
		digits = 1
	}
	return fmt.Sprintf("%.*f %ciB", digits, v, "KMGTPE"[unit-1])
}
