package sysctl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Value is the number that a key holds. In JSON it is a decimal string: systemd
// sets fs.file-max to 2^63-1, which a reader with float64 numbers would round.
type Value int64

// Unknown is a value that was not read. No key that nodetune may manage can be
// negative.
const Unknown Value = -1

// Known reports whether v was read.
func (v Value) Known() bool { return v >= 0 }

// IsZero leaves an unknown value out of JSON (omitzero).
func (v Value) IsZero() bool { return !v.Known() }

func (v Value) String() string {
	if !v.Known() {
		return "unknown"
	}
	return strconv.FormatInt(int64(v), 10)
}

// MarshalJSON writes a decimal string.
func (v Value) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, v.String()), nil
}

// UnmarshalJSON reads an integer, or a decimal string.
func (v *Value) UnmarshalJSON(b []byte) error {
	s := string(bytes.TrimSpace(b))
	if strings.HasPrefix(s, `"`) {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	}
	n, err := parseNumber(s)
	if err != nil {
		return err
	}
	*v = n
	return nil
}

// JSONSchema describes what UnmarshalJSON takes.
func (Value) JSONSchema() string {
	return `{"oneOf":[{"type":"integer","minimum":0,"maximum":9223372036854775807},{"type":"string","pattern":"^[0-9]{1,19}$"}]}`
}

// parseNumber reads the decimal digits of one number and nothing else.
func parseNumber(s string) (Value, error) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return Unknown, fmt.Errorf("%s is not a whole number of 0 or more", brief(s))
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return Unknown, fmt.Errorf("%s is past 9223372036854775807, the largest number the kernel holds", brief(s))
	case err != nil:
		return Unknown, fmt.Errorf("%s is not a whole number of 0 or more", brief(s))
	}
	return Value(n), nil
}
