package hostconfig

import (
	"strconv"
	"strings"

	"github.com/nodetune/nodetune/internal/field"
)

// ParseThreshold returns how much of size the value of a signal is: a percentage or
// a quantity, and never more than size. 0 % and 100 % switch a signal off, as
// does no value.
func ParseThreshold(value string, size uint64) (uint64, bool) {
	if p, ok := strings.CutSuffix(value, "%"); ok {
		share, err := strconv.ParseFloat(p, 64)
		if err != nil || !(share > 0 && share < 100) {
			return 0, false
		}
		return uint64(float64(size) * share / 100), true
	}
	b, err := field.ParseBytes(value)
	return min(uint64(b), size), err == nil && b > 0
}
