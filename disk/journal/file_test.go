package journal

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// journal builds a file with one field and its values, as small as they get.
func journal(compact bool, units map[string]uint64) []byte {
	const table = 264
	b := make([]byte, table)
	copy(b, signature)
	payload := dataPayload
	if compact {
		b[12], payload = compactFlag, dataPayloadSmall
	}
	put := func(at int, v uint64) { le.PutUint64(b[at:], v) }
	b = append(b, make([]byte, 16*4)...)
	put(120, table)
	put(128, 16*4)
	object := func(kind byte, fixed int, text string) int {
		at := len(b)
		size := fixed + len(text)
		b = append(b, make([]byte, (size+7)/8*8)...)
		b[at] = kind
		put(at+8, uint64(size))
		copy(b[at+fixed:], text)
		return at
	}
	other := object(objectField, fieldPayload, "MESSAGE")
	field := object(objectField, fieldPayload, unitField)
	put(table+16, uint64(other))
	put(other+24, uint64(field)) // the same bucket
	last, total := field+32, uint64(0)
	for unit, n := range units {
		at := object(objectData, payload, unitField+"="+unit)
		put(last, uint64(at))
		put(at+56, n)
		last, total = at+32, total+n
	}
	put(152, total)
	put(136, uint64(len(b)))
	return b
}

func TestReadJournal(t *testing.T) {
	want := map[string]uint64{"a.service": 3, "user@1000.service": 1 << 40, strings.Repeat("x", 247) + ".service": 1}
	for _, compact := range []bool{false, true} {
		b := journal(compact, want)
		got, err := ReadFile(bytes.NewReader(b), int64(len(b)))
		if err != nil || fmt.Sprint(got.Units) != fmt.Sprint(want) || got.Entries != 4+1<<40 {
			t.Errorf("compact %v: %+v, %v", compact, got, err)
		}
	}
	if _, err := ReadFile(strings.NewReader("text"), 4); err == nil {
		t.Error("a text is taken for a journal file")
	}
}

// Whatever a file contains: reading it ends, the number of units is bounded, and
// no name is longer than a unit's may be.
func FuzzReadJournal(f *testing.F) {
	f.Add(journal(false, map[string]uint64{"a.service": 3, "b.service": 4}))
	f.Add(journal(true, map[string]uint64{"a.service": 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ReadFile(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if got.Used > uint64(len(b)) {
			t.Fatalf("%d of %d bytes used", got.Used, len(b))
		}
		if len(got.Units) > maxFileUnits || got.objects > maxObjects+1 {
			t.Fatalf("%d units from %d objects", len(got.Units), got.objects)
		}
		for unit := range got.Units {
			if len(unit) > maxUnitName {
				t.Fatalf("a name of %d bytes", len(unit))
			}
		}
	})
}
