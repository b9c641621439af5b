package field

import (
	"errors"
	"testing"
)

func TestUnder(t *testing.T) {
	err := errors.Join(
		Errorf("rules[0].key", "%q is not a key", "x"),
		errors.Join(Errorf("[3]", "is empty")),
		errors.New("is too large"),
	)
	var got []string
	for _, e := range All(Under("sysctl", err)) {
		got = append(got, e.Error())
	}
	want := []string{
		`sysctl.rules[0].key: "x" is not a key`,
		`sysctl[3]: is empty`,
		`sysctl: is too large`,
	}
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("error %d: got %q, want %q", i, got[i], want[i])
		}
	}
	if Under("sysctl", nil) != nil {
		t.Error("no error has become one")
	}
}
