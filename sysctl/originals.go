package sysctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// originalsVersion is the version of the record; other versions are left alone.
const originalsVersion = "nodetune.io/v1alpha1"

// Originals is the record of the values from before nodetune's first change.
type Originals struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// BootID is the boot it belongs to: after another boot the kernel
	// has its own values again.
	BootID string           `json:"bootID"`
	Keys   map[Key]Original `json:"keys"`
}

// Original is the record of one key.
type Original struct {
	Before Value `json:"before"` // found before the first change
	Wrote  Value `json:"wrote"`  // written last, or about to be
	// WroteBefore is what was written before Wrote: the record is made before the
	// write, and nodetune can die between the two.
	WroteBefore Value `json:"wroteBefore,omitzero"`
}

// ours reports whether nodetune wrote the value v.
func (o Original) ours(v Value) bool {
	return v == o.Wrote || o.WroteBefore.Known() && v == o.WroteBefore
}

// Foreign returns readings without nodetune's own writes: where the value is one
// that nodetune wrote, the value from before its first change stands instead. A
// reading of another boot than the record's is returned as it is.
func (o Originals) Foreign(readings []Reading, bootID string) []Reading {
	readings = slices.Clone(readings)
	if o.BootID != bootID {
		return readings
	}
	for i, r := range readings {
		if was, ok := o.Keys[r.Key]; ok && was.ours(r.Value) {
			readings[i].Value = was.Before
		}
	}
	return readings
}

// with returns o with changes recorded, to be saved before they are written.
func (o Originals) with(changes []Change, bootID string) Originals {
	if o.BootID != bootID {
		o.Keys = nil
	}
	keys := maps.Clone(o.Keys)
	if keys == nil {
		keys = make(map[Key]Original, len(changes))
	}
	for _, c := range changes {
		was, again := keys[c.Key]
		switch {
		case !again:
			was = Original{Before: c.From, Wrote: c.To, WroteBefore: Unknown}
		case was.Wrote != c.To:
			was.WroteBefore, was.Wrote = was.Wrote, c.To
		}
		keys[c.Key] = was
	}
	return Originals{APIVersion: originalsVersion, Kind: "Originals", BootID: bootID, Keys: keys}
}

// without returns o without the record of keys.
func (o Originals) without(keys []Key) Originals {
	o.Keys = maps.Clone(o.Keys)
	for _, k := range keys {
		delete(o.Keys, k)
	}
	return o
}

func (o Originals) encode() ([]byte, error) {
	b, err := json.MarshalIndent(o, "", "  ")
	return append(b, '\n'), err
}

// UnmarshalJSON leaves WroteBefore unknown where the record has none.
func (o *Original) UnmarshalJSON(b []byte) error {
	type plain Original
	p := plain{Before: Unknown, Wrote: Unknown, WroteBefore: Unknown}
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*o = Original(p)
	return nil
}

// parseOriginals reads a record and checks all of it, since restore writes its
// values.
func parseOriginals(r io.Reader) (Originals, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxOriginalsBytes+1))
	if err != nil {
		return Originals{}, err
	}
	if len(b) > maxOriginalsBytes {
		return Originals{}, fmt.Errorf("is larger than %d bytes", maxOriginalsBytes)
	}
	var o Originals
	if err := json.Unmarshal(b, &o); err != nil {
		return Originals{}, fmt.Errorf("is not a record of originals: %w", err)
	}
	if o.APIVersion != originalsVersion || o.Kind != "Originals" {
		return Originals{}, fmt.Errorf("is a %s of %s, want an Originals of %s: another version of nodetune wrote it", brief(o.Kind), brief(o.APIVersion), originalsVersion)
	}
	if o.BootID == "" {
		return Originals{}, errors.New("names no boot")
	}
	for k, v := range o.Keys {
		if same, err := ParseKey(string(k)); err != nil || same != k {
			return Originals{}, fmt.Errorf("names %s, which is not a key", brief(string(k)))
		}
		if err := CheckKey(k); err != nil {
			return Originals{}, err
		}
		if !v.Before.Known() || !v.Wrote.Known() {
			return Originals{}, fmt.Errorf("lacks a value of %s", k)
		}
	}
	return o, nil
}

// readBootID reads <procfs>/sys/kernel/random/boot_id (random(4)).
func readBootID(procfs string) (string, error) {
	b, err := os.ReadFile(filepath.Join(procfs, "sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("read the boot's id: %w", err)
	}
	id := strings.TrimSpace(string(b))
	if len(id) != 36 {
		return "", fmt.Errorf("read the boot's id: %s is not a UUID", brief(id))
	}
	return id, nil
}
