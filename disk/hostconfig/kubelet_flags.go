package hostconfig

import (
	"strconv"
	"strings"
)

// kubeletFlags are the flags of a command line, each with its values in order.
type kubeletFlags map[string][]string

// valueFlags are the flags read here. Each takes a value, so the argument after
// one without '=' is that value, whatever it looks like.
var valueFlags = map[string]bool{
	"config": true, "config-dir": true, "root-dir": true, "container-runtime-endpoint": true,
	"container-log-max-size": true, "container-log-max-files": true,
	"eviction-hard": true, "eviction-soft": true, "eviction-minimum-reclaim": true,
}

// parseFlags reads arguments as pflag does, in both spellings. In a name '_' is
// '-' (WordSepNormalizeFunc).
func parseFlags(args []string) kubeletFlags {
	flags := kubeletFlags{}
	for i := 0; i < len(args); i++ {
		name, ok := strings.CutPrefix(args[i], "--")
		if !ok {
			continue
		}
		if name == "" {
			break // "--" ends the flags
		}
		name, value, ok := strings.Cut(name, "=")
		name = strings.ReplaceAll(name, "_", "-")
		if !ok {
			// Of another flag it is not known whether it takes a value.
			if i+1 == len(args) || !valueFlags[name] && strings.HasPrefix(args[i+1], "-") {
				continue
			}
			i++
			value = args[i]
		}
		flags[name] = append(flags[name], value)
	}
	return flags
}

// last returns the value that counts: the last one, "" where there is none.
func (f kubeletFlags) last(name string) string {
	if all := f[name]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// pairs reads a flag that is a map, with the separator between key and value:
// several flags add up. ok is false where the flag is not set.
func (f kubeletFlags) pairs(name, separator string, wrong func(pair string)) (map[string]string, bool) {
	values, ok := f[name]
	if !ok {
		return nil, false
	}
	m := map[string]string{}
	for pair := range strings.SplitSeq(strings.Join(values, ","), ",") {
		key, value, ok := strings.Cut(pair, separator)
		switch {
		case ok:
			m[strings.TrimSpace(key)] = strings.TrimSpace(value)
		case pair != "":
			wrong(pair)
		}
	}
	return m, true
}

// applyFlags puts the flags over the configuration, as the kubelet does.
func (k *Kubelet) applyFlags(flags kubeletFlags) {
	for _, m := range []struct {
		name, separator string
		to              *map[string]string
	}{
		{"eviction-hard", "<", &k.EvictionHard},
		{"eviction-soft", "<", &k.EvictionSoft},
		{"eviction-minimum-reclaim", "=", &k.EvictionMinimumReclaim},
	} {
		if values, ok := flags.pairs(m.name, m.separator, func(pair string) {
			k.warn("--%s has %.60q, which is not a pair with %q: nodetune ignores it", m.name, pair, m.separator)
		}); ok {
			*m.to = values
		}
	}
	if s := flags.last("container-log-max-size"); s != "" {
		k.setLogMaxSize(s)
	}
	if s := flags.last("container-log-max-files"); s != "" {
		n, err := strconv.ParseInt(s, 0, 32) // as pflag's Int32
		if err != nil {
			k.warn("--container-log-max-files is %.40q, which is no number: nodetune takes %d", s, k.LogMaxFiles)
		} else {
			k.LogMaxFiles = int(n)
		}
	}
	if s := flags.last("container-runtime-endpoint"); s != "" {
		k.RuntimeEndpoint = s
	}
}
