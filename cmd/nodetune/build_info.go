package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// BuildInfo is what the linker recorded about this binary.
type BuildInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// String is a line for people.
func (v BuildInfo) String() string {
	revision := ""
	if v.Revision != "" {
		revision = v.Revision + " "
	}
	return fmt.Sprintf("nodetune %s %s%s %s", v.Version, revision, v.Go, v.Platform)
}

// buildInfo reads what the linker recorded about this binary.
func buildInfo() BuildInfo {
	v := BuildInfo{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
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
