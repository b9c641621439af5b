package field

import (
	"strconv"
	"time"
)

// HumanDuration writes a time that passes in one unit, as kubectl does: 7s, 12m, 3h, 40d.
func HumanDuration(d time.Duration) string {
	n, unit := int64(d/(24*time.Hour)), "d"
	switch {
	case d < 2*time.Minute:
		n, unit = max(0, int64(d/time.Second)), "s"
	case d < 2*time.Hour:
		n, unit = int64(d/time.Minute), "m"
	case d < 48*time.Hour:
		n, unit = int64(d/time.Hour), "h"
	case d > 730*24*time.Hour:
		return ">2y"
	}
	return strconv.FormatInt(n, 10) + unit
}
