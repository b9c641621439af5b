package field

import (
	"fmt"
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
