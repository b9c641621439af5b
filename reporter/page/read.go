package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
)

// MaxInput is how large a saved Status may be. One has less than 1 MB.
const MaxInput = 4 << 20

// Read reads a Status that was saved from /status.json. It refuses another
// document, another version, and what is larger than MaxInput.
func Read(r io.Reader) (Status, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxInput+1))
	switch {
	case err != nil:
		return Status{}, err
	case len(b) > MaxInput:
		return Status{}, fmt.Errorf("it has more than %d MiB, and a saved /status.json has less than 1: give another file", MaxInput>>20)
	}
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Nodetune   string `json:"nodetune"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok {
			return Status{}, fmt.Errorf("it is no JSON (%w): %s", err, save)
		}
	}
	switch {
	case head.Kind == "Report":
		return Status{}, errors.New("it is a Report, as 'nodetune check -o json' and /report have it: " + save)
	case head.Kind != Kind:
		return Status{}, fmt.Errorf("its kind is %q, want %s: %s", safetext.String(head.Kind), Kind, save)
	case head.APIVersion != reporter.APIVersion:
		return Status{}, fmt.Errorf("its apiVersion is %q, and this nodetune reads %s: use the nodetune that wrote it, version %q",
			safetext.String(head.APIVersion), reporter.APIVersion, safetext.String(head.Nodetune))
	}
	var s Status
	if err := json.Unmarshal(b, &s); err != nil {
		return Status{}, fmt.Errorf("it is no %s (%w): %s", Kind, err, save)
	}
	return s, nil
}

// save is what to do instead.
const save = "save /status.json of the agent, or what 'nodetune page -o json' prints"
