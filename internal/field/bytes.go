package field

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size that a configuration writes as Kubernetes does, "10Mi" or
// "1.5G", or as a plain number of bytes.
type Bytes int64

// MarshalJSON writes b with the largest binary suffix that divides it.
func (b Bytes) MarshalJSON() ([]byte, error) { return json.Marshal(b.String()) }

func (b Bytes) String() string {
	if b != 0 {
		for i := len(binary) - 1; i >= 0; i-- {
			if unit := int64(1) << (10 * (i + 1)); int64(b)%unit == 0 {
				return strconv.FormatInt(int64(b)/unit, 10) + string(binary[i]) + "i"
			}
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// JSONSchema describes what UnmarshalJSON takes.
func (Bytes) JSONSchema() string {
	return `{"oneOf":[{"type":"integer","minimum":0},{"type":"string","pattern":"^[0-9]"}]}`
}

// UnmarshalJSON reads "10Mi" or 10485760.
func (b *Bytes) UnmarshalJSON(in []byte) error {
	s := string(in)
	if s != "" && s[0] == '"' {
		if err := json.Unmarshal(in, &s); err != nil {
			return err
		}
	}
	v, err := ParseBytes(s)
	if err != nil {
		return err
	}
	*b = v
	return nil
}

const (
	binary  = "KMGTPE"
	decimal = "kMGTPE"
)

// ParseBytes reads a Kubernetes quantity of bytes: digits with an optional
// fraction, then nothing, an exponent, or one of k M G T P E (powers of 1000)
// and Ki Mi Gi Ti Pi Ei (powers of 1024). A fraction of a byte is rounded up,
// as resource.Quantity does.
func ParseBytes(s string) (Bytes, error) {
	wrong := fmt.Errorf("%q is not a size: write a number with Ki, Mi, Gi, k, M, G or no suffix, for example \"10Mi\"", s)
	number, factor := s, 1.0
	switch last := len(s) - 1; {
	case last < 1:
	case s[last] == 'i':
		n := strings.IndexByte(binary, s[last-1])
		if n < 0 {
			return 0, wrong
		}
		number, factor = s[:last-1], math.Pow(1024, float64(n+1))
	default:
		if n := strings.IndexByte(decimal, s[last]); n >= 0 {
			number, factor = s[:last], math.Pow(1000, float64(n+1))
		}
	}
	if number == "" || strings.Trim(number, "0123456789.eE+-") != "" || number[0] == '-' || number[0] == '+' {
		return 0, wrong
	}
	// Whole numbers stay exact beyond the 53 bits of a float64.
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n != 0 && int64(factor) > math.MaxInt64/n {
			return 0, fmt.Errorf("%q is more than 8Ei", s)
		}
		return Bytes(n * int64(factor)), nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, wrong
	}
	f = math.Ceil(f * factor)
	if f >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is more than 8Ei", s)
	}
	return Bytes(f), nil
}
