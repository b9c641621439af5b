package view

import "encoding/json"

// Limit is a limit of the kernel.
type Limit int64

// NoLimit stands for a limit that could not be read or does not exist. It is
// null in JSON.
const NoLimit Limit = -1

// MarshalJSON writes an unknown limit as null.
func (l Limit) MarshalJSON() ([]byte, error) {
	if l < 0 {
		return []byte("null"), nil
	}
	return json.Marshal(int64(l))
}

// UnmarshalJSON reads null as an unknown limit.
func (l *Limit) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*l = NoLimit
		return nil
	}
	return json.Unmarshal(b, (*int64)(l))
}

// Percent returns how much of l used is; 0 where there is no limit.
func (l Limit) Percent(used int64) float64 {
	switch {
	case l < 0 || used <= 0:
		return 0
	case l == 0:
		return 100
	}
	return 100 * float64(used) / float64(l)
}
