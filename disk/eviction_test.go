package disk

import (
	"time"

	"github.com/nodetune/nodetune/internal/field"
)

// pressure15 is the default of the configuration: act below 15 %, end at 20.
func pressure15() PressurePolicy {
	return PressurePolicy{AvailPercent: 15, RecoverAvailPercent: 20, InodesPercent: 10, Horizon: field.Duration(10 * time.Minute)}
}
