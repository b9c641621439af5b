package recommend

import (
	"encoding/json"
	"fmt"
	"math"
)

// APIVersion is that of the documents that this package reads and writes.
const APIVersion = "nodetune.io/v1alpha1"

// raisePercent is the share of a limit at which an agent raises it: inotify.raisePercent
// of the default configuration, which a NodeStatus does not have.
const raisePercent = 70

// status are the fields of a NodeStatus, the document of /status.json, that matter here.
type status struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Node       string `json:"node"`
	Passes     []struct {
		Name  string  `json:"name"`
		At    *string `json:"at"`
		Error string  `json:"error"`
	} `json:"passes"`
	Limits struct {
		Rows []limit `json:"rows"`
		More int     `json:"more"`
	} `json:"limits"`
	Settings struct {
		Rows []setting `json:"rows"`
	} `json:"settings"`
}

type limit struct {
	Key   string `json:"key"`
	Owner *struct {
		UserNS uint64 `json:"userns"`
		UID    uint32 `json:"uid"`
	} `json:"owner"`
	PID     int    `json:"pid"`
	Used    int64  `json:"used"`
	Limit   *Value `json:"limit"`
	Quality string `json:"quality"`
}

type setting struct {
	Key     string `json:"key"`
	Value   *Value `json:"value"`
	Want    *Value `json:"want"`
	Ceiling *Value `json:"ceiling"`
}

// initialUserNS is the inode of the first user namespace, PROC_USER_INIT_INO. Others
// have limits of their own, which no key of the node raises.
const initialUserNS = 4026531837

// FromStatus returns the samples of a NodeStatus. Without a name the node is that of the
// document.
func FromStatus(node string, raw []byte) ([]Sample, error) {
	var d status
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("it is no JSON of a status: %w", err)
	}
	if d.Kind != "NodeStatus" || d.APIVersion != APIVersion {
		return nil, fmt.Errorf("it has kind %.40q of %.40q: want kind NodeStatus of %s, as /status.json has it", d.Kind, d.APIVersion, APIVersion)
	}
	if node == "" {
		node = d.Node
	}
	counted, why := d.counted()
	var samples []Sample
	for _, key := range Keys {
		s := NewSample(node, key)
		for _, r := range d.Settings.Rows {
			if r.Key == key {
				s.Value, s.Want, s.Ceiling = known(r.Value), known(r.Want), known(r.Ceiling)
			}
		}
		if !counted {
			s.Reason = why
		} else {
			d.measure(&s)
		}
		samples = append(samples, s)
	}
	return samples, nil
}

func known(v *Value) Value {
	if v == nil {
		return Unknown
	}
	return *v
}

// counted reports whether the pass that counts use has ended well.
func (d *status) counted() (bool, string) {
	for _, p := range d.Passes {
		switch {
		case p.Name != "inotify":
		case p.Error != "":
			return false, fmt.Sprintf("%s: %.200s", NotCounted, p.Error) // an agent can answer anything
		case p.At != nil:
			return true, ""
		}
	}
	return false, "no pass has counted yet"
}

// measure adds what the limits show of the key: those of the fullest user.
func (d *status) measure(s *Sample) {
	s.Needs, s.Reason = 0, NotUsed
	if s.Key == fileMaxKey || d.Limits.More > 0 {
		s.Needs, s.Reason = Unknown, NotCounted
	}
	for _, l := range d.Limits.Rows {
		if l.Key != s.Key || l.PID != 0 || l.Owner != nil && l.Owner.UserNS != initialUserNS {
			continue
		}
		s.Value = max(s.Value, known(l.Limit))
		if l.Used < 0 || l.Quality == "" || l.Quality == "unknown" {
			s.Needs, s.Reason = Unknown, NotCounted
			return
		}
		needs := Value(math.MaxInt64)
		if l.Used < math.MaxInt64/100 {
			needs = Value((l.Used*100 + raisePercent - 1) / raisePercent)
		}
		if needs <= s.Needs {
			continue
		}
		who := "the node"
		if l.Owner != nil {
			who = fmt.Sprintf("uid %d", l.Owner.UID)
		}
		s.Needs, s.Reason = needs, fmt.Sprintf("%s uses %d, and at most %d %% are to be in use%s", who, l.Used, raisePercent, Doubt(l.Quality))
	}
	// A leak asks for ever more: what the configuration permits is enough.
	if s.Ceiling.Known() && s.Needs > s.Ceiling {
		s.Needs, s.Held = s.Ceiling, fmt.Sprintf("the ceiling is %d", s.Ceiling)
	}
}
