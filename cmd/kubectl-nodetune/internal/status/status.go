// Package status judges the DaemonSets of nodetune from what the API server and the
// agents answered. It is pure.
package status

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/cluster"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/fleet"
)

// Status is the document of `kubectl nodetune status`.
type Status struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Healthy    bool        `json:"healthy"`
	Verdict    string      `json:"verdict"`
	DaemonSets []DaemonSet `json:"daemonSets"`
	// Versions are the agents of each version of nodetune.
	Versions map[string]int      `json:"versions"`
	Nodes    map[fleet.State]int `json:"nodes"`
	// Drift is what differs between nodes.
	Drift    []string `json:"drift"`
	Problems []string `json:"problems"`
	// Unknown is what could not be asked.
	Unknown []string `json:"unknown"`
}

// DaemonSet counts the pods of one.
type DaemonSet struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Desired   int32  `json:"desired"`
	Ready     int32  `json:"ready"`
	Updated   int32  `json:"updated"`
}

// Seen is what the API server and the agents answered.
type Seen struct {
	DaemonSets []appsv1.DaemonSet
	Agents     []cluster.Agent
	Builds     map[string]cluster.Build // by node
	Nodes      []corev1.Node
}

// Judge returns the status of what was seen.
func Judge(seen Seen) Status {
	s := Status{
		APIVersion: "nodetune.io/v1alpha1", Kind: "FleetStatus", DaemonSets: []DaemonSet{}, Versions: map[string]int{},
		Nodes: map[fleet.State]int{}, Drift: []string{}, Problems: []string{}, Unknown: []string{},
	}
	for _, d := range seen.DaemonSets {
		s.daemonSet(d)
	}
	s.agents(seen)
	s.nodes(seen)
	s.Healthy = len(s.Problems) == 0 && len(s.Drift) == 0
	s.Verdict = s.verdict()
	return s
}

func (s *Status) daemonSet(d appsv1.DaemonSet) {
	row := DaemonSet{d.Namespace, d.Name, d.Status.DesiredNumberScheduled, d.Status.NumberReady, d.Status.UpdatedNumberScheduled}
	s.DaemonSets = append(s.DaemonSets, row)
	name := d.Namespace + "/" + d.Name
	switch {
	case d.Status.ObservedGeneration < d.Generation:
		s.Problems = append(s.Problems, fmt.Sprintf("the DaemonSet controller has not seen the newest change of %s", name))
	case row.Desired == 0:
		s.Problems = append(s.Problems, fmt.Sprintf("DaemonSet %s wants no pod: its node selector matches no node", name))
	}
	if n := row.Desired - row.Ready; n > 0 {
		s.Problems = append(s.Problems, fmt.Sprintf("%d of %d pods of %s are not ready", n, row.Desired, name))
	}
	if n := row.Desired - row.Updated; n > 0 {
		s.Problems = append(s.Problems, fmt.Sprintf("%d of %d pods of %s run an older template", n, row.Desired, name))
	}
}

// group lists the nodes of each value.
type group map[string][]string

func (g group) add(value, node string) { g[value] = append(g[value], node) }

func (s *Status) agents(seen Seen) {
	versions := group{}
	images := map[string]group{} // of each image reference
	for _, a := range seen.Agents {
		if a.Object.DeletionTimestamp != nil {
			continue
		}
		for _, c := range a.Object.Status.ContainerStatuses {
			if c.Name != a.Container {
				continue
			}
			if w := c.State.Waiting; w != nil {
				s.Problems = append(s.Problems, fmt.Sprintf("pod %s on %s waits: %s %s", a.Pod, a.Node, w.Reason, w.Message))
			}
			if c.ImageID != "" {
				if images[c.Image] == nil {
					images[c.Image] = group{}
				}
				images[c.Image].add(c.ImageID, a.Node)
			}
		}
		b, asked := seen.Builds[a.Node]
		switch {
		case !asked:
		case b.Error != "":
			s.Unknown = append(s.Unknown, fmt.Sprintf("version of the agent on %s: %s", a.Node, b.Error))
		default:
			s.Versions[b.Version]++
			versions.add(strings.TrimSpace(b.Version+" "+b.Revision), a.Node)
		}
		if b.ConfigRefused {
			s.Problems = append(s.Problems, fmt.Sprintf("the agent on %s refuses the configuration file, and uses the one before: see its log", a.Node))
		}
	}
	s.drift("version", versions)
	for _, image := range slices.Sorted(maps.Keys(images)) {
		s.drift("image "+image, images[image])
	}
}

// maxNamed is how many nodes a line lists.
const maxNamed = 3

// drift records that what has more than one value.
func (s *Status) drift(what string, values group) {
	if len(values) < 2 {
		return
	}
	var parts []string
	for _, v := range slices.SortedFunc(maps.Keys(values), func(a, b string) int {
		return cmp.Or(len(values[b])-len(values[a]), cmp.Compare(a, b))
	}) {
		parts = append(parts, fmt.Sprintf("%s on %s", v, named(values[v])))
	}
	s.Drift = append(s.Drift, what+": "+strings.Join(parts, ", "))
}

func named(nodes []string) string {
	slices.Sort(nodes)
	if len(nodes) <= maxNamed {
		return strings.Join(nodes, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(nodes[:maxNamed], " "), len(nodes)-maxNamed)
}

func (s *Status) nodes(seen Seen) {
	for i := range seen.Nodes {
		n := fleet.Summarize(&seen.Nodes[i])
		_, wanted := cluster.On(seen.Agents, n.Name)
		if !wanted && n.State == fleet.Silent {
			continue // Windows, Fargate, or a node that a selector leaves out
		}
		s.Nodes[n.State]++
		switch n.State {
		case fleet.OK:
		case fleet.Silent, fleet.Unknown:
			s.Unknown = append(s.Unknown, fmt.Sprintf("node %s: %s", n.Name, n.Reason))
		case fleet.Problem:
			s.Problems = append(s.Problems, fmt.Sprintf("node %s: %s", n.Name, n.Reason))
		}
		if n.StartupTaint {
			s.Problems = append(s.Problems, fmt.Sprintf("node %s: the startup gate is closed", n.Name))
		}
	}
}

func (s *Status) verdict() string {
	var desired, ready, updated int32
	for _, d := range s.DaemonSets {
		desired, ready, updated = desired+d.Desired, ready+d.Ready, updated+d.Updated
	}
	word := "healthy"
	switch {
	case len(s.Problems) > 0:
		word = "trouble"
	case len(s.Drift) > 0:
		word = "drift"
	case len(s.Unknown) > 0:
		word = "healthy as far as is known"
	}
	line := fmt.Sprintf("%s: %d desired, %d ready, %d updated", word, desired, ready, updated)
	if len(s.Versions) > 0 {
		line += "; version " + strings.Join(slices.Sorted(maps.Keys(s.Versions)), ", ")
	}
	return line + fmt.Sprintf("; %d problems, %d differences, %d unknown", len(s.Problems), len(s.Drift), len(s.Unknown))
}

// maxLines is how many lines of a list are printed.
const maxLines = 20

// Table writes s for people.
func (s Status) Table(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintln(&b, safetext.String(s.Verdict))
	for _, list := range []struct {
		name  string
		lines []string
	}{{"Problems", s.Problems}, {"Differences between nodes", s.Drift}, {"Not known", s.Unknown}} {
		if len(list.lines) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n", list.name)
		for i, line := range list.lines {
			if i == maxLines {
				fmt.Fprintf(&b, "  and %d more: see -o json\n", len(list.lines)-i)
				break
			}
			fmt.Fprintf(&b, "  %s\n", safetext.String(line))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
