package kube

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/sysctl"
)

// What a pod may ask for.
const (
	// FloorAnnotation holds floors such as
	// "fs.inotify.max_user_instances=8192": vendors document absolute limits, so
	// the largest one counts.
	FloorAnnotation = "nodetune.io/sysctl-floor"
	// InstancesAnnotation holds how many inotify instances the pod's processes
	// need of their user: the kernel counts per user, so they are added up.
	InstancesAnnotation = "nodetune.io/inotify-instances"
)

// maxFloors bounds one annotation: nodetune manages fewer keys.
const maxFloors = 32

// PodDemand is what one pod asks for.
type PodDemand struct {
	Namespace string
	Pod       string
	UID       types.UID
	Floors    []Floor
	Instances int64 // 0: it does not say
	RunAs     uint32
	Err       error // what could not be read of the annotations
}

// Floor is one floor a pod asks for.
type Floor struct {
	Key  sysctl.Key
	Want sysctl.Value
}

// ParseFloors reads a FloorAnnotation: KEY=NUMBER, separated by commas or
// blanks. Of a key that is named twice the larger number counts. One that is
// wrong does not take the others with it.
func ParseFloors(s string) ([]Floor, error) {
	words := strings.FieldsFunc(s, func(r rune) bool {
		return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r'
	})
	if len(words) == 0 {
		return nil, errors.New("is empty, want for example fs.inotify.max_user_instances=8192")
	}
	if len(words) > maxFloors {
		return nil, fmt.Errorf("has %d floors, at most %d are read", len(words), maxFloors)
	}
	var floors []Floor
	var wrong []error
	for _, word := range words {
		f, err := parseFloor(word)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		i := slices.IndexFunc(floors, func(g Floor) bool { return g.Key == f.Key })
		if i < 0 {
			floors = append(floors, f)
		} else {
			floors[i].Want = max(floors[i].Want, f.Want)
		}
	}
	return floors, errors.Join(wrong...)
}

func parseFloor(word string) (Floor, error) {
	name, number, ok := strings.Cut(word, "=")
	if !ok {
		return Floor{}, fmt.Errorf("%s is not KEY=NUMBER", quote(word))
	}
	key, err := sysctl.ParseKey(name)
	if err != nil {
		return Floor{}, err
	}
	n, err := parseCount(number)
	if err != nil {
		return Floor{}, fmt.Errorf("%s: %w", key, err)
	}
	return Floor{key, sysctl.Value(n)}, nil
}

// parseCount reads a whole number of 1 or more.
func parseCount(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, fmt.Errorf("%s is not a whole number from 1 to 9223372036854775807", quote(s))
	}
	return int64(n), nil
}

// quote quotes s, which a stranger wrote, for an error of bounded length.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.Quote(safetext.String(s))
}

// RejectedDemand is a demand, or a part of one, that does not count in full.
type RejectedDemand struct {
	Demand  *PodDemand
	Reason  string // DemandInvalid, DemandNotAllowed or DemandOverCeiling
	Message string
}

// The reasons of refusals.
const (
	DemandInvalid     = "DemandInvalid"
	DemandNotAllowed  = "DemandNotAllowed"
	DemandOverCeiling = "DemandOverCeiling"
)

// Ceilings are the most that pods may have each key raised to. A key without
// one cannot be asked for.
type Ceilings map[sysctl.Key]sysctl.Value

// ResolveDemands returns the floors that the demands come to, each at most its ceiling,
// and what was refused:
//
//	min(ceiling, max(pods' floors, the largest sum per owner of
//	                 what undeclared processes use and what pods declare))
//
// The caller takes the maximum with the administrator's floor. u may be empty: then
// no use is known.
func ResolveDemands(demands []PodDemand, u inotify.Usage, p DemandPolicy, ceilings Ceilings) ([]Floor, []RejectedDemand) {
	want := make(map[sysctl.Key]sysctl.Value)
	var refused []RejectedDemand
	var declared []*PodDemand
	for i := range demands {
		d := &demands[i]
		refuse := func(reason, format string, args ...any) {
			refused = append(refused, RejectedDemand{d, reason, fmt.Sprintf(format, args...)})
		}
		if d.Err != nil {
			refuse(DemandInvalid, "%s", strings.ReplaceAll(d.Err.Error(), "\n", "; "))
		}
		if !p.allowsNamespace(d.Namespace) {
			if len(d.Floors) > 0 || d.Instances > 0 {
				refuse(DemandNotAllowed, "pods of this namespace may not ask for settings: reporter.podDemands.namespaces of nodetune's configuration does not list it")
			}
			continue
		}
		for _, f := range d.Floors {
			ceiling, ok := ceilings[f.Key]
			switch {
			case !slices.Contains(p.Keys, f.Key):
				refuse(DemandNotAllowed, "%s may not be asked for: reporter.podDemands.keys of nodetune's configuration does not list it", f.Key)
				continue
			case !ok:
				refuse(DemandNotAllowed, "%s may not be asked for: it has no ceiling in nodetune's configuration", f.Key)
				continue
			case f.Want > ceiling:
				refuse(DemandOverCeiling, "%s=%d is over the ceiling of this node, %d, which is what it gets", f.Key, f.Want, ceiling)
			}
			want[f.Key] = max(want[f.Key], f.Want)
		}
		if d.Instances > 0 {
			declared = append(declared, d)
		}
	}
	if sum := largestSum(declared, u); sum > 0 {
		ceiling, ok := ceilings[sysctl.MaxUserInstances]
		for _, d := range declared {
			switch {
			case !slices.Contains(p.Keys, sysctl.MaxUserInstances) || !ok:
				refused = append(refused, RejectedDemand{d, DemandNotAllowed, string(sysctl.MaxUserInstances) + " may not be asked for: nodetune's configuration does not list it in reporter.podDemands.keys, or gives it no ceiling"})
			case sum > int64(ceiling):
				refused = append(refused, RejectedDemand{d, DemandOverCeiling, fmt.Sprintf("the inotify instances that pods of this user declare, and what others of it use, come to more than the ceiling of this node, %d", ceiling)})
			}
		}
		if ok && slices.Contains(p.Keys, sysctl.MaxUserInstances) {
			want[sysctl.MaxUserInstances] = max(want[sysctl.MaxUserInstances], sysctl.Value(sum))
		}
	}
	var floors []Floor
	for key, w := range want {
		floors = append(floors, Floor{key, min(w, ceilings[key])})
	}
	slices.SortFunc(floors, func(a, b Floor) int { return cmp.Compare(a.Key, b.Key) })
	return floors, refused
}

// largestSum returns the most instances that one owner needs: what pods declare
// for it, and what all others of it use. Only owners that a pod declares for
// count; the rest is what the measured floor is for.
func largestSum(declared []*PodDemand, u inotify.Usage) int64 {
	// Whose are the processes of each declaring pod?
	byUID := make(map[string]*PodDemand, len(declared))
	byName := make(map[[2]string]*PodDemand, len(declared))
	for _, d := range declared {
		byUID[string(d.UID)] = d
		byName[[2]string{d.Namespace, d.Pod}] = d
	}
	undeclared := make(map[inotify.Owner]int64)
	owner := make(map[*PodDemand]inotify.Owner)
	most := make(map[*PodDemand]int64)
	for _, p := range u.Processes {
		o := inotify.Owner{UserNS: p.UserNS, UID: p.UID}
		d := byName[[2]string{p.Namespace, p.Pod}]
		if p.Pod == "" {
			d = byUID[workload.FromCgroupPath(p.Cgroup).PodUID]
		}
		if d == nil {
			undeclared[o] = add(undeclared[o], p.Instances)
			continue
		}
		if n, ok := most[d]; !ok || p.Instances > n { // processes are sorted by use
			most[d], owner[d] = p.Instances, o
		}
	}
	// An instance that several processes share is charged once.
	for _, a := range u.Accounts {
		undeclared[a.Owner] = min(undeclared[a.Owner], a.Instances)
	}
	sum := make(map[inotify.Owner]int64)
	var largest int64
	for _, d := range declared {
		o, ok := owner[d]
		if !ok { // it has not started yet
			o = inotify.Owner{UserNS: inotify.InitialUserNS, UID: d.RunAs}
		}
		if _, ok := sum[o]; !ok {
			sum[o] = undeclared[o]
		}
		sum[o] = add(sum[o], d.Instances)
		largest = max(largest, sum[o])
	}
	return largest
}

// add is a+b, or the largest number there is: annotations can hold any number.
func add(a, b int64) int64 {
	if s := a + b; s >= a {
		return s
	}
	return 1<<63 - 1
}

// DemandStats is what the demands came to.
type DemandStats struct {
	Floors []Floor
	Pods   map[string]int // by result: accepted, or a reason of refusals
}

// CountDemands counts pods, each once for each of its results.
func CountDemands(demands []PodDemand, floors []Floor, refused []RejectedDemand) DemandStats {
	s := DemandStats{Floors: floors, Pods: map[string]int{
		"accepted": len(demands), DemandInvalid: 0, DemandNotAllowed: 0, DemandOverCeiling: 0,
	}}
	type result struct {
		uid    types.UID
		reason string
	}
	counted := make(map[result]bool)
	failed := make(map[types.UID]bool)
	for _, r := range refused {
		if key := (result{r.Demand.UID, r.Reason}); !counted[key] {
			counted[key] = true
			s.Pods[r.Reason]++
		}
		if !failed[r.Demand.UID] {
			failed[r.Demand.UID] = true
			s.Pods["accepted"]--
		}
	}
	return s
}
