package workload

import (
	"strings"
	"testing"
)

const (
	uid    = "0e7b1c7e-9a52-4b0d-8d0c-6f6a4f1d2c3b"
	uidU   = "0e7b1c7e_9a52_4b0d_8d0c_6f6a4f1d2c3b"
	static = "3bdb5d5b8a5d0d4f4b5d6a7c8e9f0a1b"
)

var (
	id    = strings.Repeat("0123456789abcdef", 4)
	other = strings.Repeat("f", 64)
)

func TestFromCgroupPath(t *testing.T) {
	pod := Workload{PodUID: uid, ContainerID: id}
	for _, c := range []struct {
		name, path string
		want       Workload
	}{
		{"root", "/", Workload{}},
		{"empty", "", Workload{}},
		{"cgroupfs", "/kubepods/pod" + uid + "/" + id, pod},
		{"cgroupfs burstable", "/kubepods/burstable/pod" + uid + "/" + id, pod},
		{"static pod", "/kubepods/burstable/pod" + static + "/" + id, Workload{PodUID: static, ContainerID: id}},
		{"systemd containerd", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + uidU + ".slice/cri-containerd-" + id + ".scope", pod},
		{"systemd guaranteed", "/kubepods.slice/kubepods-pod" + uidU + ".slice/cri-containerd-" + id + ".scope", pod},
		{"CRI-O", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uidU + ".slice/crio-" + id + ".scope", pod},
		{"CRI-O inner", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uidU + ".slice/crio-" + id + ".scope/container", pod},
		{"CRI-O cgroupfs", "/kubepods/burstable/pod" + uid + "/crio-" + id, pod},
		{"CRI-O conmon", "/kubepods.slice/kubepods-pod" + uidU + ".slice/crio-conmon-" + id + ".scope", Workload{PodUID: uid}},
		{"cri-dockerd", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uidU + ".slice/docker-" + id + ".scope", pod},
		{"cri-dockerd cgroupfs", "/kubepods/besteffort/pod" + uid + "/" + id, pod},
		{"systemd path, cgroupfs driver", "/system.slice/containerd.service/kubepods-burstable-pod" + uidU + ".slice:cri-containerd:" + id, pod},
		{"pod, no container", "/kubepods/burstable/pod" + uid, Workload{PodUID: uid}},
		{"cgroup root", "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + uidU + ".slice/cri-containerd-" + id + ".scope", pod},
		{"kind", "/docker/" + other + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + uidU + ".slice/cri-containerd-" + id + ".scope", pod},
		{"kind, systemd docker", "/system.slice/docker-" + other + ".scope/kubelet/kubepods/pod" + uid + "/" + id, pod},
		{"cgroup root, cgroupfs", "/custom/kubepods/burstable/pod" + uid + "/" + id, pod},
		{"cgroup root of slices", "/a.slice/a-b.slice/a-b-kubepods.slice/a-b-kubepods-pod" + uidU + ".slice/crio-" + id + ".scope", pod},
		{"sibling in a cgroup namespace", "/../../kubelet-kubepods-burstable-pod" + uidU + ".slice/cri-containerd-" + id + ".scope", pod},
		{"kind in a cgroup namespace", "/../../kubelet/kubepods/pod" + uid + "/" + id, pod},
		{"the first container counts", "/docker/" + other + "/kubepods/pod" + uid + "/" + id, Workload{ContainerID: other}},
		{"kind's own", "/docker/" + other + "/system.slice/containerd.service", Workload{ContainerID: other}},
		{"kind in a pod", "/kubepods/pod" + uid + "/" + id + "/kubepods/pod" + static + "/" + other, pod},
		{"docker in a pod", "/kubepods/burstable/pod" + uid + "/" + id + "/docker/" + other, pod},
		{"systemd in a pod", "/kubepods.slice/kubepods-pod" + uidU + ".slice/cri-containerd-" + id + ".scope/system.slice/cron.service", pod},
		{"cgroup namespace", "/../../kubepods/pod" + uid + "/" + id, pod},
		{"docker", "/docker/" + id, Workload{ContainerID: id}},
		{"docker systemd", "/system.slice/docker-" + id + ".scope", Workload{ContainerID: id}},
		{"podman", "/machine.slice/libpod-" + id + ".scope/container", Workload{ContainerID: id}},
		{"podman conmon", "/machine.slice/libpod-conmon-" + id + ".scope", Workload{Unit: "libpod-conmon-" + id + ".scope"}},
		{"service", "/system.slice/rsyslog.service", Workload{Unit: "rsyslog.service"}},
		{"template", "/system.slice/system-getty.slice/getty@tty1.service", Workload{Unit: "getty@tty1.service"}},
		{"below a service", "/system.slice/systemd-udevd.service/udev", Workload{Unit: "systemd-udevd.service"}},
		{"escaped", "/system.slice/_cpu.service", Workload{Unit: "cpu.service"}},
		{"init", "/init.scope", Workload{Unit: "init.scope"}},
		{"session", "/user.slice/user-1000.slice/session-3.scope", Workload{Unit: "session-3.scope"}},
		{"user service", "/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", Workload{Unit: "user@1000.service"}},
		{"rootless", "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope", Workload{Unit: "user@1000.service", ContainerID: id}},
		{"forged by a user", "/user.slice/user-1000.slice/user@1000.service/kubepods/pod" + uid + "/" + id, Workload{Unit: "user@1000.service", ContainerID: id}},
		{"forged in a container", "/kubepods/pod" + uid + "/" + id + "/kubepods/pod" + static, pod},
		{"pod without kubepods", "/pod" + uid + "/" + id, Workload{ContainerID: id}},
		{"no UID", "/kubepods/podlet/" + id, Workload{ContainerID: id}},
		{"upper case id", "/docker/" + strings.ToUpper(other), Workload{}},
		{"a slice only", "/system.slice", Workload{}},
		{"a suffix only", "/system.slice/.service", Workload{}},
	} {
		if got := fromCgroupPath(c.path, container{id: other}); got != c.want {
			t.Errorf("%s: FromCgroupPath(%q)\n got %+v\nwant %+v", c.name, c.path, got, c.want)
		}
	}
}

// A process that may make directories below its own cgroup names no other pod by it.
func TestCgroupPathNamesNoOtherPod(t *testing.T) {
	forged := []string{
		"/kubepods/pod" + uid,
		"/kubepods/burstable/pod" + uid,
		"/kubepods/pod" + uid + "/" + id,
		"/kubepods.slice/kubepods-pod" + uidU + ".slice",
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uidU + ".slice/cri-containerd-" + id + ".scope",
		"/kubepods-pod" + uidU + ".slice",
		"/kubepods-pod" + uidU + ".slice:cri-containerd:" + id,
		"/x/kubelet/kubepods/pod" + uid,
		"/x.slice/kubepods.slice/kubepods-pod" + uidU + ".slice",
		"/containerd.service/kubepods-pod" + uidU + ".slice:cri-containerd:" + id,
	}
	for _, own := range []string{
		"/docker/" + other,
		"/system.slice/docker-" + other + ".scope",
		"/docker/" + other + "/kubelet/x",
		"/docker/" + id + "/kubelet",
		"/system.slice/docker-" + id + ".scope/kubelet",
		"/../../docker/" + other + "/kubelet",
		"/docker/buildkit/x" + other[:10],
		"/machine.slice/libpod-" + other + ".scope",
		"/machine.slice/libpod-" + other + ".scope/container",
		"/libpod_parent/libpod-" + other,
		"/machine.slice/machine-x.scope",
		"/system.slice/x.service",
		"/system.slice/x.scope",
		"/system.slice/system-x.slice/x@1.service",
		"/system.slice/x.service/docker/" + other,
		"/x.service",
		"/init.scope",
		"/lxc/x",
		"/lxc.payload.x",
		"/../x",
		"/../x.service",
		"/../" + other,
		"/../../docker/" + other,
		"/user.slice/user-1000.slice/user@1000.service",
		"/kubepods/burstable/pod" + static + "/" + other,
		"/kubepods/pod" + static,
		"/kubepods/x",
		"/kubepods.slice/kubepods-burstable.slice/crio-" + other + ".scope",
		"/kubelet/kubepods/pod" + static + "/" + other,
		"/kubelet/x",
	} {
		for _, below := range forged {
			if w := fromCgroupPath(own+below, container{id: other}); w.PodUID == uid {
				t.Errorf("FromCgroupPath(%q) names the pod: %+v", own+below, w)
			}
		}
	}
}

// A pod's own cgroup is below kubepods, however it is seen: also where a cgroup namespace
// hides which container this is, what it makes below that is no node of kind.
func TestPodIsNoNode(t *testing.T) {
	for _, pod := range []string{
		"/kubepods/burstable/pod" + static + "/" + other,
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/cri-containerd-" + other + ".scope",
		"/../../pod" + static + "/" + other,
		"/../../../besteffort/pod" + static + "/" + other,
		"/../../kubepods-burstable-pod" + strings.ReplaceAll(static, "-", "_") + ".slice/cri-containerd-" + other + ".scope",
		"/../" + other,
		"/../../../../docker/" + other,
	} {
		for _, below := range []string{"", "/docker/" + other, "/system.slice/docker-" + other + ".scope", "/../docker/" + other} {
			for _, root := range []string{"/kubelet/kubepods/pod" + uid, "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + uidU + ".slice"} {
				if w := fromCgroupPath(pod+below+root, container{unknown: true}); w.PodUID == uid {
					t.Errorf("FromCgroupPath(%q) names the pod: %+v", pod+below+root, w)
				}
			}
		}
	}
}

// In a cgroup namespace of its own a process takes Docker containers for nodes of kind
// only where its node is a container: elsewhere one that may write its cgroup would name
// any pod.
func TestOwnContainerInANamespace(t *testing.T) {
	const hosts, log = " /etc/hosts rw,relatime - ext4 /dev/sda1 rw\n", " /dev/termination-log rw,relatime - ext4 /dev/sda1 rw\n"
	pods, volume := "/pods/"+uid+"/etc-hosts", "/var/lib/docker/volumes/"+other
	node := "/docker/" + other + "/kubelet/kubepods/pod" + uid + "/" + id
	for _, c := range []struct {
		name, cgroup, mounts string
		want                 string // the pod of node
	}{
		{"a pod of a machine", "0::/\n", "1 2 8:1 /var/lib/kubelet" + pods + hosts, ""},
		{"a pod of a machine, hybrid", "0::/../../x\n", "1 2 8:1 /kubelet" + pods + hosts, ""},
		{"a pod of kind", "0::/\n", "1 2 8:1 / / rw - overlay overlay rw\n1 2 8:1 " + volume + "/_data/lib/kubelet" + pods + hosts, uid},
		{"a pod of k3d", "0::/\n", "1 2 8:1 " + volume + "/_data/pods/" + uid + "/containers/nodetune/1" + log, uid},
		{"a pod of kind with Podman", "0::/\n", "1 2 8:1 /var/lib/containers/storage/volumes/x/_data/lib/kubelet" + pods + hosts, uid},
		{"a Docker container", "0::/\n", "1 2 8:1 /var/lib/docker/containers/" + other + "/hosts" + hosts, ""},
		{"a volume elsewhere", "0::/\n", "1 2 8:1 " + volume + "/_data" + pods + " /var/log/x rw - ext4 /dev/sda1 rw\n", ""},
		{"this container", "0::/docker/" + other + "\n", "", uid},
		{"no mounts", "0::/\n", "", ""},
		{"nonsense", "0::/\n", "\n1 2 3 4\n", ""},
	} {
		if got := fromCgroupPath(node, ownContainerOf(c.cgroup, c.mounts)).PodUID; got != c.want {
			t.Errorf("%s: %s is of pod %q, want %q", c.name, node, got, c.want)
		}
	}
}

func TestContainerOf(t *testing.T) {
	for cgroup, want := range map[string]container{
		"0::/\n":                               {unknown: true},
		"0::/../../x\n":                        {unknown: true},
		"":                                     {unknown: true},
		"0::/system.slice/nodetune.service\n":  {},
		"0::/docker/" + other + "/kubelet/x\n": {id: other},
		"9:pids:/\n0::/system.slice/docker-" + other + ".scope\n": {id: other},
		"0::/x/docker/" + other + "\n":                            {},
	} {
		if got := containerOf(cgroup); got != want {
			t.Errorf("%q: %+v, want %+v", cgroup, got, want)
		}
	}
}

func TestParseCgroup(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Workload
	}{
		{"v2", "0::/system.slice/ssh.service\n", Workload{Unit: "ssh.service"}},
		{"v1", "3:cpuset:/kubepods/pod" + uid + "/" + id + "\n2:cpu:/\n1:name=systemd:/kubepods/pod" + uid + "/" + id + "\n", Workload{PodUID: uid, ContainerID: id}},
		{"hybrid: a container in some hierarchies", "9:name=systemd:/system.slice/containerd.service\n4:memory:/docker/" + id + "\n0::/system.slice/containerd.service\n", Workload{ContainerID: id}},
		{"colons", "1:memory:/system.slice/containerd.service/kubepods-pod" + uidU + ".slice:cri-containerd:" + id + "\n", Workload{PodUID: uid, ContainerID: id}},
		{"no newline", "0::/init.scope", Workload{Unit: "init.scope"}},
		{"nothing", "", Workload{}},
		{"no fields", "kubepods\n\n:\n", Workload{}},
	} {
		if got := ParseCgroup([]byte(c.text)); got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

func TestParseLogPath(t *testing.T) {
	w := Workload{Namespace: "logging", Pod: "fluent-bit-x7k2p", PodUID: uid, Container: "fluent-bit"}
	dir := "/var/log/pods/logging_fluent-bit-x7k2p_" + uid + "/fluent-bit/"
	for _, c := range []struct {
		path string
		want Log
		ok   bool
	}{
		{dir + "0.log", Log{Workload: w}, true},
		{dir + "12.log", Log{Workload: w, Restart: 12}, true},
		{dir + "0.log.20260102-150405", Log{Workload: w, Rotated: ".20260102-150405"}, true},
		{dir + "0.log.20260102-150405.gz", Log{Workload: w, Rotated: ".20260102-150405.gz"}, true},
		{"/var/log/pods/kube-system_etcd-node1.example_" + static + "/etcd/3.log", Log{Workload: Workload{Namespace: "kube-system", Pod: "etcd-node1.example", PodUID: static, Container: "etcd"}, Restart: 3}, true},
		{"/var/log/containers/fluent-bit-x7k2p_logging_a-b-" + id + ".log", Log{Workload: Workload{Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "a-b", ContainerID: id}}, true},
		{dir + "00.log", Log{}, false},
		{dir + "-1.log", Log{}, false},
		{dir + "+1.log", Log{}, false},
		{dir + "99999999999.log", Log{}, false},
		{dir + "0.logx", Log{}, false},
		{dir + "x.log", Log{}, false},
		{dir + "0.log/1", Log{}, false},
		{dir + "sub/0.log", Log{}, false},
		{dir, Log{}, false},
		{"/var/log/pods/logging_a_b_" + uid + "/c/0.log", Log{}, false},
		{"/var/log/pods/log\x1b[m_a_" + uid + "/c/0.log", Log{}, false},
		{"/var/log/pods/a_b_" + uid + "/../0.log", Log{}, false},
		{"/var/log/pods/a_b_notauid/c/0.log", Log{}, false},
		{"/var/log/containers/a_b_c-" + id, Log{}, false},
		{"/var/log/containers/a_b_-" + id + ".log", Log{}, false},
		{"/var/log/containers/a_b_" + id + ".log", Log{}, false},
		{"/tmp/var/log/pods/a_b_" + uid + "/c/0.log", Log{}, false},
	} {
		got, ok := ParseLogPath(c.path)
		if got != c.want || ok != c.ok {
			t.Errorf("ParseLogPath(%q)\n got %+v %v\nwant %+v %v", c.path, got, ok, c.want, c.ok)
		}
	}
}

// Whatever the text, an id comes out of it in the form the kubelet writes, and
// literally (dashes apart) stood in it; a path below user.slice names no pod.
func FuzzParseCgroup(f *testing.F) {
	f.Add([]byte("0::/kubepods.slice/kubepods-pod" + uidU + ".slice/cri-containerd-" + id + ".scope\n"))
	f.Add([]byte("9:name=systemd:/user.slice/kubepods/pod" + uid + "/" + id + "\n"))
	f.Add([]byte("1::/system.slice/x.service/a:b:c\n0::/docker/" + id))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := ParseCgroup(b)
		text := string(b)
		if w.PodUID != "" && (!isPodUID(w.PodUID) || !strings.Contains(strings.ReplaceAll(text, "_", "-"), w.PodUID)) {
			t.Fatalf("pod UID %q from %q", w.PodUID, text)
		}
		if w.ContainerID != "" && (!isContainerID(w.ContainerID) || !strings.Contains(text, w.ContainerID)) {
			t.Fatalf("container id %q from %q", w.ContainerID, text)
		}
		if strings.ContainsAny(w.Unit, "/\n") || w.Unit != "" && w.PodUID != "" {
			t.Fatalf("unit %q of %q", w.Unit, text)
		}
		if w.Namespace+w.Pod+w.Container != "" {
			t.Fatalf("names %+v, which no cgroup holds", w)
		}
		path := strings.ReplaceAll(text, "\n", "")
		if u := FromCgroupPath("/user.slice/" + path); u.PodUID != "" {
			t.Fatalf("user.slice names pod %q: %q", u.PodUID, path)
		}
	})
}

// What is accepted is accepted because it is exactly what the kubelet would
// have written for these names.
func FuzzParseLogPath(f *testing.F) {
	f.Add("logging_fluent-bit_"+uid+"/fluent-bit/0.log", "a_b_c-"+id+".log")
	f.Add("a_b_"+static+"/c/1.log.20260102-150405.gz", "a.b_c_d--"+id+".log")
	f.Fuzz(func(t *testing.T, rel, link string) {
		if l, ok := ParsePodLog(rel); ok {
			dir, _, _ := strings.Cut(rel, "/")
			if dir != l.Namespace+"_"+l.Pod+"_"+l.PodUID || l.ContainerID != "" || l.Unit != "" {
				t.Fatalf("%q gave %+v", rel, l)
			}
			printable(t, l.Workload)
		}
		if w, ok := ParseContainerLink(link); ok {
			if link != w.Pod+"_"+w.Namespace+"_"+w.Container+"-"+w.ContainerID+".log" {
				t.Fatalf("%q gave %+v", link, w)
			}
			printable(t, w)
		}
	})
}

func printable(t *testing.T, w Workload) {
	t.Helper()
	for _, s := range []string{w.Namespace, w.Pod, w.Container, w.PodUID, w.ContainerID} {
		if strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" {
			t.Fatalf("%q holds more than a name may", s)
		}
	}
}

func BenchmarkParseCgroup(b *testing.B) {
	text := []byte("9:name=systemd:/\n4:memory:/kubepods/burstable/pod" + uid + "/" + id + "\n0::/kubepods/burstable/pod" + uid + "/" + id + "\n")
	b.ReportAllocs()
	for b.Loop() {
		ParseCgroup(text)
	}
}
