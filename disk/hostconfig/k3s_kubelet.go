package hostconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// k3sSettings are the settings of k3s that say how its kubelet runs.
type k3sSettings struct {
	kubeletArgs []string
	dataDir     string
	docker      bool
	endpoint    string
}

// set takes one argument of k3s, name without dashes. Arguments add up, the last
// one of the others counts.
func (s *k3sSettings) set(name, value string) {
	switch name {
	case "kubelet-arg":
		s.kubeletArgs = append(s.kubeletArgs, strings.TrimPrefix(value, "--"))
	case "data-dir", "d":
		s.dataDir = value
	case "docker":
		s.docker = value != "false"
	case "container-runtime-endpoint":
		s.endpoint = value
	}
}

// k3sArgs returns the arguments that k3s gives its kubelet: those in its
// configuration, then those of its command line. k3s removes the latter from
// /proc/PID/cmdline, so they are read from its systemd unit. k3s' installer names
// that k3s, k3s-agent, or k3s-NAME with INSTALL_K3S_NAME.
func k3sArgs(command, unit string, args []string, host hostfs.HostFiles, k *Kubelet) ([]string, error) {
	if !strings.HasSuffix(unit, ".service") {
		unit = "k3s.service"
		if command == "agent" {
			unit = "k3s-agent.service"
		}
	}
	values, problems := readSystemdConf(host, "system/"+unit, "Service")
	env := map[string]string{}
	parseEnvironment([]byte(strings.Join(words(values["Environment"]), "\n")), env)
	name := strings.TrimSuffix(unit, ".service")
	for _, file := range []string{"/etc/default/" + name, "/etc/sysconfig/" + name, "/etc/systemd/system/" + unit + ".env"} { // as in k3s' unit
		if b, err := host.Read(file); err == nil {
			parseEnvironment(b, env)
		}
	}
	if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") }) {
		for _, p := range problems {
			k.unseen("k3s hides its command line, and its unit cannot be read: %s: %s", p.Path, p.Message)
		}
		if start := values["ExecStart"]; start != "" {
			all, unknown := execStart(start, env)
			args = all[min(1, len(all)):]
			for _, v := range unknown {
				k.unseen("k3s hides its command line, and the variable %.60q in %s is in none of the files that k3s' own unit reads: a --kubelet-arg in it is not known", v, unit)
			}
		} else if len(problems) == 0 {
			k.unseen("k3s hides its command line, and %s does not exist: a --kubelet-arg in its command line is not known. Write it into /etc/rancher/k3s/config.yaml", unit)
		}
	}
	config := "/etc/rancher/k3s/config.yaml"
	if p := env["K3S_CONFIG_FILE"]; p != "" {
		config = p
	} else if p := argument(args, "--config", "-c"); p != "" {
		config = p
	}
	k.Config = config
	s := k3sSettings{dataDir: env["K3S_DATA_DIR"]}
	err := readK3sConfig(host, config, &s)
	for i, a := range args {
		name, value, ok := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if a == name || name == "" { // no dashes
			continue
		}
		if !ok && i+1 < len(args) && (name == "kubelet-arg" || !strings.HasPrefix(args[i+1], "-")) {
			value = args[i+1]
		}
		s.set(name, value)
	}
	return s.flags(host), err
}

// flags returns the kubelet's flags for these settings. Since v1.32 k3s writes
// its own values into a directory of drop-ins and passes that; before, it passed
// them as flags.
func (s k3sSettings) flags(host hostfs.HostFiles) []string {
	if s.dataDir == "" {
		s.dataDir = "/var/lib/rancher/k3s"
	}
	endpoint := s.endpoint
	switch {
	case endpoint == "" && s.docker:
		endpoint = "unix:///run/k3s/cri-dockerd/cri-dockerd.sock"
	case endpoint == "":
		endpoint = "unix:///run/k3s/containerd/containerd.sock"
	}
	own := []string{
		"container-runtime-endpoint=" + endpoint,
		"eviction-hard=imagefs.available<5%,nodefs.available<5%",
		"eviction-minimum-reclaim=imagefs.available=10%,nodefs.available=10%",
	}
	dir := path.Join("/", s.dataDir, "agent/etc/kubelet.conf.d")
	if kind, err := host.Kind(dir); err == nil && kind.IsDir() {
		own = []string{"config-dir=" + dir}
	}
	return joinK3sArgs(own, s.kubeletArgs)
}

// joinK3sArgs joins k3s' own flags with the user's arguments, as k3s does: NAME+=VALUE
// comes after its own value, NAME-=VALUE before it, and NAME=VALUE in its place, where
// it is the first of its name. An argument without a value is true.
func joinK3sArgs(own, args []string) []string {
	byName := map[string][]string{}
	for _, flag := range own {
		name, value, _ := strings.Cut(flag, "=")
		byName[name] = []string{value}
	}
	seen := map[string]bool{}
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if !ok {
			value = "true"
		}
		clean := strings.TrimRight(name, "+-")
		switch {
		case clean == "": // the kubelet does not start with it
			continue
		case strings.HasSuffix(name, "-"):
			byName[clean] = slices.Insert(byName[clean], 0, value)
		case strings.HasSuffix(name, "+"), seen[clean]:
			byName[clean] = append(byName[clean], value)
		default:
			byName[clean] = []string{value}
		}
		seen[clean] = true
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		for _, value := range byName[name] {
			all = append(all, "--"+name+"="+value)
		}
	}
	return all
}

// readK3sConfig reads the configuration of k3s and its drop-ins, config.yaml.d:
// a later file replaces a value, or adds to it where the key ends with "+".
func readK3sConfig(host hostfs.HostFiles, config string, s *k3sSettings) error {
	files := []string{config}
	if names, err := host.List(config + ".d"); err == nil {
		for _, name := range names[:min(len(names), maxDropIns)] {
			if ext := path.Ext(name); ext == ".yaml" || ext == ".yml" {
				files = append(files, path.Join(config+".d", name))
			}
		}
	}
	values := map[string][]string{}
	var errs []error
	for _, p := range files {
		b, err := host.Read(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var c map[string]any
		if err == nil {
			err = yaml.Unmarshal(b, &c)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("k3s configuration %s: %w", p, err))
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(c)) { // "kubelet-arg+" adds to the "kubelet-arg" of its file
			value := c[key]
			name, adds := strings.CutSuffix(key, "+")
			if !adds {
				values[name] = nil
			}
			values[name] = append(values[name], scalars(value)...)
		}
	}
	for name, all := range values {
		for _, value := range all {
			s.set(name, value)
		}
	}
	return errors.Join(errs...)
}

// scalars returns a value of YAML, or those of a list, as arguments.
func scalars(value any) []string {
	switch value := value.(type) {
	case nil:
		return nil
	case []any:
		var all []string
		for _, v := range value {
			all = append(all, fmt.Sprint(v))
		}
		return all
	}
	return []string{fmt.Sprint(value)}
}
