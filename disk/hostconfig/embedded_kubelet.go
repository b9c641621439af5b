package hostconfig

import (
	"fmt"
	"path"
	"strings"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// kubeletArgs returns the arguments of the kubelet in the process with this
// NUL-separated command line. The kubelet may be part of another program, which
// takes its arguments from files of its own; k.Program then names it. unit is the
// systemd unit that runs the process, "" where that is not known.
func kubeletArgs(cmdline []byte, unit string, host hostfs.HostFiles, k *Kubelet) ([]string, error) {
	args := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
	// k3s sets its title: the first argument is then "/usr/local/bin/k3s server".
	program, command, _ := strings.Cut(args[0], " ")
	args = args[1:]
	switch name := path.Base(program); {
	case name == "kubelite":
		k.Program = "kubelite"
		return microK8sArgs(args, host, k)
	case name == "microshift":
		k.Program, k.Config = "microshift", microShiftConfig
		return []string{"--config=" + microShiftConfig}, nil
	case name == "k3s" || strings.HasPrefix(name, "k3s-"):
		k.Program = "k3s"
		if command == "" {
			command = strings.TrimPrefix(name, "k3s-")
		}
		if len(args) > 0 && command == name && !strings.HasPrefix(args[0], "-") {
			command = args[0]
		}
		return k3sArgs(command, unit, args, host, k)
	}
	return args, nil
}

// microShiftConfig is the file that MicroShift writes for its kubelet.
const microShiftConfig = "/var/lib/microshift/resources/kubelet/config/config.yaml"

// microK8sArgs reads the file in --kubelet-args-file of kubelite: one flag on a
// line, with quotes and $SNAP_DATA, $SNAP_COMMON and $SNAP.
func microK8sArgs(args []string, host hostfs.HostFiles, k *Kubelet) ([]string, error) {
	file := argument(args, "--kubelet-args-file")
	if file == "" {
		file = "/var/snap/microk8s/current/args/kubelet"
	}
	k.Config = file
	b, err := host.Read(file)
	if err != nil {
		return nil, fmt.Errorf("arguments of MicroK8s' kubelet: %w", err)
	}
	data := path.Dir(path.Dir(file))
	expand := strings.NewReplacer(
		"${SNAP_DATA}", data, "${SNAP_COMMON}", path.Join(path.Dir(data), "common"), "${SNAP}", "/snap/microk8s/"+path.Base(data),
		"$SNAP_DATA", data, "$SNAP_COMMON", path.Join(path.Dir(data), "common"), "$SNAP", "/snap/microk8s/"+path.Base(data),
	)
	var all []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			all = append(all, words(expand.Replace(line))...)
		}
	}
	return all, nil
}
