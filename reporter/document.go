package reporter

import (
	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/sysctl"
)

// APIVersion marks every document nodetune prints and every configuration it
// reads.
const APIVersion = "nodetune.io/v1alpha1"

// Document is the Report that check, apply and restore print as JSON or YAML:
// one shape for all of them. A section whose pass has not run is left out.
type Document struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Sysctl     *sysctl.PassResult `json:"sysctl,omitempty"`
	Persist    *Persisted         `json:"persist,omitempty"`
	Inotify    *inotify.Usage     `json:"inotify,omitempty"`
	Disk       *disk.Usage        `json:"disk,omitempty"`
	// Omitted is what the passes left out, the most first.
	Omitted    []Omitted   `json:"omitted,omitempty"`
	NodePolicy *NodePolicy `json:"nodePolicy,omitempty"`
	// RefusedClients is what the running agent refused, if anything.
	RefusedClients *RefusedClients `json:"refusedClients,omitempty"`
	// Errors holds, per section, why it could not be read at all.
	Errors map[string]string `json:"errors,omitempty"`
}

// NewDocument renders s.
func NewDocument(s Snapshot) Document {
	d := Document{APIVersion: APIVersion, Kind: "Report", Persist: s.Persist, NodePolicy: s.NodePolicy}
	d.Sysctl = section(&d, "sysctl", s.Sysctl)
	d.Inotify = section(&d, "inotify", s.Inotify)
	d.Disk = section(&d, "disk", s.Disk)
	d.Omitted = s.Omitted()
	if !s.RefusedClients.None() {
		d.RefusedClients = s.RefusedClients
	}
	return d
}

// section returns the value of r, or records its error under name.
func section[T any](d *Document, name string, r Result[T]) *T {
	switch {
	case r.At.IsZero():
		return nil
	case r.Err != nil:
		if d.Errors == nil {
			d.Errors = make(map[string]string)
		}
		d.Errors[name] = r.Err.Error()
		return nil
	}
	return &r.Value
}
