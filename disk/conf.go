package disk

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// parseUnitConf reads the section [Journal] of b, journald.conf(5), into
// values. An empty value takes a setting back, the last one counts.
func parseUnitConf(b []byte, section string, values map[string]string) {
	in := false
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, maxConfig+1)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			in = line == "["+section+"]"
		case in:
			if key, value, ok := strings.Cut(line, "="); ok {
				values[strings.TrimSpace(key)] = strings.TrimSpace(value)
			}
		}
	}
}

// journaldDirs are where journald.conf.d(5) drop-ins are looked for; of two
// with the same name the first counts.
var journaldDirs = []string{"/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"}

// readJournald returns journald's settings: the main file, then every drop-in
// by name.
func readJournald(read func(string) ([]byte, error), list func(string) ([]string, error)) map[string]string {
	values := map[string]string{}
	for _, dir := range journaldDirs {
		if b, err := read(path.Join(dir, "journald.conf")); err == nil {
			parseUnitConf(b, "Journal", values)
			break
		}
	}
	where := map[string]string{}
	var names []string
	for _, dir := range journaldDirs {
		found, err := list(path.Join(dir, "journald.conf.d"))
		if err != nil {
			continue
		}
		for _, name := range found[:min(len(found), maxIncludes)] {
			if _, ok := where[name]; !ok && strings.HasSuffix(name, ".conf") {
				where[name] = path.Join(dir, "journald.conf.d", name)
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if b, err := read(where[name]); err == nil {
			parseUnitConf(b, "Journal", values)
		}
	}
	return values
}

// dockerConfig is the part of /etc/docker/daemon.json that says how containers
// log.
type dockerConfig struct {
	LogDriver string            `json:"log-driver"`
	LogOpts   map[string]string `json:"log-opts"`
}

func parseDocker(b []byte) (dockerConfig, error) {
	c := dockerConfig{LogDriver: "json-file"} // Docker's default
	if err := json.Unmarshal(b, &c); err != nil {
		return dockerConfig{}, fmt.Errorf("not a daemon.json: %w", err)
	}
	return c, nil
}
