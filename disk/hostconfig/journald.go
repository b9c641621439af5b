package hostconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// parseUnitConf reads a section of b, a file of systemd.syntax(7), into values.
// An empty value takes a setting back, the last one counts. A line that ends
// with \ goes on with the next one; comments between them are passed over, and
// a line that is no assignment is, as systemd does: go-systemd's parser drops
// the rest of the file at such a line.
func parseUnitConf(b []byte, section string, values map[string]string) {
	in, whole := false, ""
	for line := range strings.SplitSeq(string(bytes.TrimPrefix(b, []byte("\ufeff"))), "\n") {
		line = strings.TrimRight(line, "\r")
		if trimmed := strings.TrimSpace(line); trimmed != "" && (trimmed[0] == '#' || trimmed[0] == ';') {
			continue
		}
		if before, ok := strings.CutSuffix(line, `\`); ok {
			whole += before + " "
			continue
		}
		line, whole = strings.TrimSpace(whole+line), ""
		if line == "" {
			continue
		}
		if line[0] == '[' {
			in = line == "["+section+"]"
		} else if key, value, ok := strings.Cut(line, "="); ok && in {
			values[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
}

// confDirs are where systemd looks for a configuration file and its drop-ins,
// in the order of precedence.
var confDirs = []string{"/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"}

// readSystemdConf returns the settings in a section of the configuration file
// with this name, for example journald.conf: of the main files the first one,
// then every drop-in by name, of two with the same name the first
// (systemd-analyze cat-config). Files that could not be read are problems.
func readSystemdConf(host hostfs.HostFiles, name, section string) (values map[string]string, problems []Problem) {
	values = map[string]string{}
	// take reports whether there is such a file.
	take := func(p string) bool {
		b, err := host.Read(p)
		kind, e := host.Kind(p)
		if e != nil && errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if err != nil {
			if e == nil && kind&(fs.ModeSymlink|fs.ModeIrregular) != 0 {
				return true // a link to /dev/null masks the file; /dev may not be mounted here
			}
			problems = append(problems, Problem{p, fmt.Sprintf("not read: %v", err)})
			return true
		}
		parseUnitConf(b, section, values)
		return true
	}
	for _, dir := range confDirs {
		if take(path.Join(dir, name)) {
			break
		}
	}
	where := map[string]string{}
	var order []string
	for _, dir := range confDirs {
		found, err := host.List(path.Join(dir, name+".d"))
		if err != nil {
			continue
		}
		for _, one := range found[:min(len(found), maxDropIns)] {
			if _, ok := where[one]; !ok && strings.HasSuffix(one, ".conf") {
				where[one] = path.Join(dir, name+".d", one)
				order = append(order, one)
			}
		}
	}
	slices.Sort(order)
	for _, one := range order {
		take(where[one])
	}
	return values, problems
}

// Docker is the part of Docker's configuration that says how containers
// log and where.
type Docker struct {
	LogDriver string            `json:"log-driver"`
	LogOpts   map[string]string `json:"log-opts"`
	DataRoot  string            `json:"data-root"`
	Graph     string            `json:"graph"` // its name before 17.05
}

const dockerConf = "/etc/docker/daemon.json"

// DockerDataDir is Docker's data-root where it is not configured.
const DockerDataDir = "/var/lib/docker"

func parseDocker(b []byte) (Docker, error) {
	c := Docker{LogDriver: "json-file"} // Docker's default
	if len(bytes.TrimSpace(b)) == 0 {
		b = []byte("{}") // dockerd takes an empty file
	}
	if err := json.Unmarshal(bytes.TrimPrefix(b, []byte("\ufeff")), &c); err != nil {
		return Docker{}, fmt.Errorf("not a daemon.json: %w", err)
	}
	if c.LogDriver == "" {
		c.LogDriver = "json-file"
	}
	return c, nil
}

// ReadDocker returns the configuration of the Docker daemon with this
// NUL-separated command line, "" where none runs. A setting on the command line
// stands above that in the file; dockerd does not start where both have it.
func ReadDocker(host hostfs.HostFiles, cmdline []byte) (c Docker, conf string, err error) {
	args := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	conf = dockerConf
	if p := argument(args, "--config-file"); path.IsAbs(p) {
		conf = p
	}
	b, err := host.Read(conf)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = nil, nil
	}
	if err == nil {
		c, err = parseDocker(b)
	}
	if err != nil {
		err = fmt.Errorf("read Docker's configuration %s: %w", conf, err)
		c = Docker{}
	}
	c.applyArgs(args)
	c.DataRoot = path.Join("/", c.DataRoot)
	return c, conf, err
}

// DockerDataFlag returns the data-root on dockerd's NUL-separated command line, the
// default where it has none.
func DockerDataFlag(cmdline []byte) string {
	p := argument(strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00"), "--data-root", "--graph", "-g")
	if !path.IsAbs(p) {
		return DockerDataDir
	}
	return p
}

// applyArgs takes dockerd's flags: -g and --graph are older names of
// --data-root.
func (c *Docker) applyArgs(args []string) {
	if c.DataRoot == "" {
		c.DataRoot = c.Graph
	}
	if p := argument(args, "--data-root", "--graph", "-g"); p != "" {
		c.DataRoot = p
	}
	if c.DataRoot == "" {
		c.DataRoot = DockerDataDir
	}
	if d := argument(args, "--log-driver"); d != "" {
		c.LogDriver = d
	}
	for i, a := range args {
		opt, ok := strings.CutPrefix(a, "--log-opt=")
		if a == "--log-opt" && i+1 < len(args) {
			opt, ok = args[i+1], true
		}
		if key, value, is := strings.Cut(opt, "="); ok && is {
			if c.LogOpts == nil {
				c.LogOpts = map[string]string{}
			}
			c.LogOpts[key] = value
		}
	}
}
