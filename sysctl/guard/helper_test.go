package guard

import (
	"slices"
	"time"
	"unsafe"
)

func bytePtr(s string) unsafe.Pointer { return unsafe.Pointer(&append([]byte(s), 0)[0]) }

func sortDurations(all []time.Duration) { slices.Sort(all) }
