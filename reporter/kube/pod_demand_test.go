package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/sysctl"
)

func TestParseFloors(t *testing.T) {
	for _, tt := range []struct{ in, want, err string }{
		{"fs.inotify.max_user_instances=8192", "fs.inotify.max_user_instances=8192", ""},
		{"fs/file-max=5, fs.nr_open=7\nfs.file-max=9 ", "fs.file-max=9,fs.nr_open=7", ""},
		{"", "", "is empty"},
		{" , ,", "", "is empty"},
		{"fs.file-max", "", "not KEY=NUMBER"},
		{"fs.file-max=0", "", "not a whole number"},
		{"fs.file-max=-1", "", "not a whole number"},
		{"fs.file-max=+1", "", "not a whole number"},
		{"fs.file-max=9223372036854775808", "", "not a whole number"},
		{"fs.file-max=1e3,fs.nr_open=7", "fs.nr_open=7", "not a whole number"},
		{"../../etc/passwd=1", "", "sysctl key"},
		{"fs.\x1b[31m=1", "", "sysctl key"},
		{strings.Repeat("fs.file-max=1,", 33), "", "at most 32"},
	} {
		floors, err := ParseFloors(tt.in)
		var got []string
		for _, f := range floors {
			got = append(got, fmt.Sprintf("%s=%d", f.Key, f.Want))
		}
		if strings.Join(got, ",") != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %q, %v; want %q, %q", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func FuzzParseFloors(f *testing.F) {
	for _, s := range []string{"fs.inotify.max_user_instances=8192", "a=1,b=2", "=", "fs/a=1 fs.a=2", "fs.a=9223372036854775807", "\x00=\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		floors, err := ParseFloors(s)
		if len(floors) > maxFloors || len(floors) == 0 && err == nil {
			t.Fatalf("%d floors without an error", len(floors))
		}
		seen := make(map[sysctl.Key]bool)
		var again []string
		for _, f := range floors {
			if k, err := sysctl.ParseKey(string(f.Key)); err != nil || k != f.Key || f.Want < 1 || seen[f.Key] {
				t.Fatalf("floor %+v", f)
			}
			seen[f.Key] = true
			again = append(again, fmt.Sprintf("%s=%d", f.Key, f.Want))
		}
		if len(again) > 0 { // what was read reads the same again
			if second, err := ParseFloors(strings.Join(again, ",")); err != nil || !slices.Equal(second, floors) {
				t.Fatalf("%q came back as %+v: %v", again, second, err)
			}
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x1b\x00\r") {
			t.Fatalf("the error carries control characters: %q", err)
		}
	})
}

func TestMerge(t *testing.T) {
	const instances, watches = sysctl.MaxUserInstances, sysctl.MaxUserWatches
	policy := DemandPolicy{Namespaces: []string{"logging"}, Keys: []sysctl.Key{instances, watches}}
	ceilings := Ceilings{instances: 1000, watches: 5000}
	pod := func(name string, n int64, floors ...Floor) PodDemand {
		return PodDemand{Namespace: "logging", Pod: name, UID: "uid-" + "1", Floors: floors, Instances: n}
	}
	root := inotify.Owner{UserNS: inotify.InitialUserNS}
	process := func(pod string, uid uint32, n int64) inotify.Process {
		p := inotify.Process{UserNS: inotify.InitialUserNS, UID: uid, Instances: n}
		if pod != "" {
			p.Namespace, p.Pod = "logging", pod
		}
		return p
	}
	usage := func(p ...inotify.Process) inotify.Usage {
		return inotify.Usage{Processes: p}
	}
	for _, tt := range []struct {
		name    string
		demands []PodDemand
		usage   inotify.Usage
		want    string
		refused string
	}{
		{"no pod asks", nil, usage(process("", 0, 500)), "", ""},
		{"the largest floor", []PodDemand{pod("a", 0, Floor{instances, 200}), pod("b", 0, Floor{instances, 300})}, usage(), "fs.inotify.max_user_instances=300", ""},
		{"the ceiling", []PodDemand{pod("a", 0, Floor{instances, 2000}, Floor{watches, 7})}, usage(), "fs.inotify.max_user_instances=1000 fs.inotify.max_user_watches=7", "DemandOverCeiling"},
		{"another namespace", []PodDemand{{Namespace: "default", Pod: "a", Floors: []Floor{{instances, 200}}, Instances: 5}}, usage(), "", "DemandNotAllowed"},
		{"another key", []PodDemand{pod("a", 0, Floor{sysctl.FileMax, 200})}, usage(), "", "DemandNotAllowed"},
		{"what could be read counts", []PodDemand{{Namespace: "logging", Floors: []Floor{{watches, 7}}, Err: errors.New("x")}}, usage(), "fs.inotify.max_user_watches=7", "DemandInvalid"},
		{"declared needs add up with what others use", []PodDemand{pod("a", 64), pod("b", 32)}, usage(process("", 0, 100)), "fs.inotify.max_user_instances=196", ""},
		{"what the declaring pod uses is in what it declares", []PodDemand{pod("a", 64)}, usage(process("a", 0, 60), process("", 0, 100)), "fs.inotify.max_user_instances=164", ""},
		{"each user by itself", []PodDemand{pod("a", 64), pod("b", 32)}, usage(process("a", 1000, 1), process("b", 0, 1), process("", 0, 100)), "fs.inotify.max_user_instances=132", ""},
		{"the sum and the ceiling", []PodDemand{pod("a", 950)}, usage(process("", 0, 100)), "fs.inotify.max_user_instances=1000", "DemandOverCeiling"},
		{"a floor above the sum", []PodDemand{pod("a", 64, Floor{instances, 500})}, usage(process("", 0, 100)), "fs.inotify.max_user_instances=500", ""},
		{"no overflow", []PodDemand{pod("a", 1<<63-1), pod("b", 1<<63-1)}, usage(process("", 0, 100)), "fs.inotify.max_user_instances=1000", "DemandOverCeiling DemandOverCeiling"},
		{"an instance that processes share is charged once", []PodDemand{pod("a", 64)}, func() inotify.Usage {
			u := usage(process("", 0, 50), process("", 0, 50))
			u.Accounts = []inotify.Account{{Owner: root, Instances: 50}}
			return u
		}(), "fs.inotify.max_user_instances=114", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			floors, refused := ResolveDemands(tt.demands, tt.usage, policy, ceilings)
			var got, reasons []string
			for _, f := range floors {
				got = append(got, fmt.Sprintf("%s=%d", f.Key, f.Want))
				if f.Want > ceilings[f.Key] {
					t.Errorf("%+v is over its ceiling", f)
				}
			}
			for _, r := range refused {
				reasons = append(reasons, r.Reason)
			}
			if strings.Join(got, " ") != tt.want || strings.Join(reasons, " ") != tt.refused {
				t.Errorf("%q %q, want %q %q", got, reasons, tt.want, tt.refused)
			}
		})
	}
	if floors, _ := ResolveDemands([]PodDemand{pod("a", 5)}, usage(), DemandPolicy{Namespaces: []string{"*"}}, ceilings); len(floors) != 0 {
		t.Errorf("%+v, although no key may be asked for", floors)
	}
}

func TestDemandOf(t *testing.T) {
	uid := int64(1000)
	no := false
	pod := func(annotations ...string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: "u", Annotations: map[string]string{}}}
		for i := 0; i < len(annotations); i += 2 {
			p.Annotations[annotations[i]] = annotations[i+1]
		}
		p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &uid}
		return p
	}
	if _, ok := demandOf(pod()); ok {
		t.Error("a pod without annotations asks for something")
	}
	d, ok := demandOf(pod(InstancesAnnotation, "64", FloorAnnotation, "fs.file-max=7,x"))
	if !ok || d.Instances != 64 || len(d.Floors) != 1 || d.RunAs != 1000 || d.Err == nil || !strings.Contains(d.Err.Error(), FloorAnnotation) {
		t.Errorf("demand %+v", d)
	}
	p := pod(InstancesAnnotation, "many")
	p.Spec.HostUsers = &no
	if d, ok := demandOf(p); !ok || d.RunAs != 0 || d.Err == nil {
		t.Errorf("demand %+v", d)
	}
	p.Status.Phase = corev1.PodSucceeded
	if _, ok := demandOf(p); ok {
		t.Error("a pod that has ended asks for something")
	}
}

func TestNodeWideSysctl(t *testing.T) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "lakefs", UID: "u"}}
	p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{
		{Name: "fs.inotify.max_user_instances", Value: "8192"}, {Name: "net.core.somaxconn", Value: "1024"},
	}}
	if e, ok := nodeWideSysctl(p); ok {
		t.Errorf("a pod that was not rejected: %+v", e)
	}
	p.Status.Reason = "SysctlForbidden"
	e, ok := nodeWideSysctl(p)
	if !ok || e.Object.UID != "u" || !strings.Contains(e.Message, `annotate the pod with nodetune.io/sysctl-floor: "fs.inotify.max_user_instances=8192"`) || strings.Contains(e.Message, "net.core") {
		t.Errorf("event %+v", e)
	}
	p.Spec.SecurityContext.Sysctls = p.Spec.SecurityContext.Sysctls[1:]
	if e, ok := nodeWideSysctl(p); ok { // --allowed-unsafe-sysctls can help there
		t.Errorf("a namespaced sysctl: %+v", e)
	}
}
