package config

import (
	"path"
	"strings"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/internal/field"
)

// logDirs are the directories that hold logs and nothing else, as patterns of
// [path.Match].
var logDirs = []string{
	"/var/log",
	"/run/log",
	"/var/lib/docker/containers",
	"/var/snap/*/common/var/log",
	"/var/snap/docker/common/var-lib-docker/containers",
}

// checkLogPaths returns an error for each path of disk.logPaths that is in no
// directory of logs, unless p allows that: nodetune rotates and removes files
// there as root.
func checkLogPaths(p disk.Policy) []error {
	var errs []error
	for i, s := range p.LogPaths {
		if !p.AllowOtherLogPaths && !inLogDir(path.Clean(s)) {
			errs = append(errs, field.Errorf(field.Index("logPaths", i),
				"%q is outside of the directories of logs (%s): choose one of them, or set disk.allowOtherLogPaths: true if every file below it is a log",
				s, strings.Join(logDirs, ", ")))
		}
	}
	return errs
}

func inLogDir(p string) bool {
	for ; p != "/" && p != "."; p = path.Dir(p) {
		for _, pattern := range logDirs {
			if ok, err := path.Match(pattern, p); ok && err == nil {
				return true
			}
		}
	}
	return false
}
