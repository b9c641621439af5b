package text

import (
	"time"

	"github.com/nodetune/nodetune/internal/field"
)

// HumanDuration is [field.HumanDuration].
func HumanDuration(d time.Duration) string { return field.HumanDuration(d) }

// timestamp writes a time in UTC, as kubectl describe does.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
