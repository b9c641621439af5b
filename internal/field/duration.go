package field

import (
	"encoding/json"
	"fmt"
	"time"
)

// Duration is a [time.Duration] that a configuration writes as a string: "30s".
type Duration time.Duration

// D returns d as a [time.Duration].
func (d Duration) D() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes d as time.ParseDuration reads it.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// JSONSchema describes what UnmarshalJSON takes.
func (Duration) JSONSchema() string {
	return `{"type":"string","pattern":"^[0-9]"}`
}

// UnmarshalJSON reads "30s". A bare number is refused: it does not show its unit.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s is not a duration: write a number with its unit in quotes, for example \"30s\"", b)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration: write a number with its unit, for example \"30s\"", s)
	}
	*d = Duration(v)
	return nil
}
