// Package version reads the version that the Go linker recorded in this binary.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Info is what the linker recorded about this binary.
type Info struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// String is a line for people.
func (v Info) String() string {
	revision := ""
	if v.Revision != "" {
		revision = v.Revision + " "
	}
	return fmt.Sprintf("nodetune %s %s%s %s", v.Version, revision, v.Go, v.Platform)
}

// Read reads what the linker recorded about this binary.
func Read() Info {
	v := Info{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if b.Main.Version != "" {
		v.Version = b.Main.Version
	}
	for _, s := range b.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
