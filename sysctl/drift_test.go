package sysctl

import (
	"reflect"
	"testing"
)

func TestDrifts(t *testing.T) {
	seen := func(k Key, before, value Value) Status {
		return Status{Rule: Rule{Key: k}, Before: before, Value: value}
	}
	prev := PassResult{Rules: []Status{
		seen("fs.a", 1, 8),
		seen("fs.b", 5, 5),
		seen("fs.c", 5, 5),
		seen("fs.d", Unknown, Unknown),
		seen("fs.e", 7, 7),
	}}
	next := PassResult{Rules: []Status{
		seen("fs.a", 1, 8),       // lowered and mended
		seen("fs.b", 5, 6),       // ours
		seen("fs.c", 9, 9),       // raised by another program
		seen("fs.d", 3, 3),       // was not read before
		seen("fs.e", Unknown, 7), // is not read now
		seen("fs.f", 1, 1),       // a new rule
	}}
	want := []Drift{{"fs.a", 8, 1}, {"fs.c", 5, 9}}
	if got := Drifts(prev, next); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if want[0].Direction() != "lowered" || want[1].Direction() != "raised" {
		t.Errorf("directions: %s and %s", want[0].Direction(), want[1].Direction())
	}
}
