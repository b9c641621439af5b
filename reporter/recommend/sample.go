package recommend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Value is a value of a key. JSON has it as a decimal string.
type Value int64

// Unknown is a value that was not read, or that is not set.
const Unknown Value = -1

// Known reports whether v is a value.
func (v Value) Known() bool { return v >= 0 }

func (v Value) String() string {
	if !v.Known() {
		return "unknown"
	}
	return strconv.FormatInt(int64(v), 10)
}

// MarshalJSON writes a decimal string.
func (v Value) MarshalJSON() ([]byte, error) { return strconv.AppendQuote(nil, v.String()), nil }

// UnmarshalJSON reads an integer, or a decimal string. Null and "unknown" are [Unknown].
func (v *Value) UnmarshalJSON(b []byte) error {
	s := string(bytes.TrimSpace(b))
	if strings.HasPrefix(s, `"`) {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	}
	if s == "null" || s == Unknown.String() {
		*v = Unknown
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%.40q is no value of a key", s)
	}
	*v = Value(n)
	return nil
}

// Sample is what one report shows of one key on one node.
type Sample struct {
	Node    string // the name of the report
	Key     string
	Value   Value  // in force; Unknown where it was not read
	Want    Value  // the floor of the node's configuration
	Ceiling Value  // of the node's configuration
	Needs   Value  // what use asks for; Unknown where it was not measured
	Reason  string // of Needs, or why it is not known
	Held    string // why Needs is not more
}

// NewSample is a sample of a report that shows nothing of the key.
func NewSample(node, key string) Sample {
	return Sample{Node: node, Key: key, Value: Unknown, Want: Unknown, Ceiling: Unknown, Needs: Unknown, Reason: "the report has no usage"}
}

// The keys whose use is measured.
const (
	instancesKey = "fs.inotify.max_user_instances"
	watchesKey   = "fs.inotify.max_user_watches"
	fileMaxKey   = "fs.file-max"
)

// Keys are the keys whose use is measured, in the order in which nodetune reports them.
var Keys = []string{instancesKey, watchesKey, fileMaxKey}

// Reasons of a sample.
const (
	NotCounted = "use could not be counted"
	NotUsed    = "no user of the node uses it"
)

// Doubt is what a quality other than exact adds to a reason.
func Doubt(quality string) string {
	switch quality {
	case "estimate":
		return " (an estimate)"
	case "upper_bound":
		return " (at most)"
	}
	return ""
}
