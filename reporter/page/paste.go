package page

import (
	"fmt"
	"regexp"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/nodetune/nodetune/internal/workload"
)

// What a shell takes as one plain word. A pod and a namespace are DNS-1123 names
// for the API server; here they come from a directory's name or a cgroup.
var (
	unitName = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9:_.@]*\.service$`)
	fileName = regexp.MustCompile(`^/[-A-Za-z0-9_./]+$`)
)

// maxWord bounds such a word, as the names of units and of files are.
const maxWord = 255

func isDNSName(s string) bool  { return len(validation.IsDNS1123Subdomain(s)) == 0 }
func isUnitName(s string) bool { return len(s) <= maxWord && unitName.MatchString(s) }
func isFileName(s string) bool { return len(s) <= maxWord && fileName.MatchString(s) }

// restart is the line that restarts a workload, and what it does. Where there is
// none, it is the line that shows what its process waits for.
func (in Input) restart(w workload.Workload, pid int) (next, then string) {
	switch {
	case isDNSName(w.Pod) && isDNSName(w.Namespace):
		return fmt.Sprintf("kubectl --namespace %s delete pod %s", w.Namespace, w.Pod),
			"restarts it: its DaemonSet or Deployment makes the pod again, and it asks the kernel once more"
	case isUnitName(w.Unit):
		return "sudo systemctl restart " + w.Unit, "restarts it, and it asks the kernel once more"
	}
	return in.why(pid), "shows its limits; then restart it"
}

// why is the line that explains a process.
func (in Input) why(pid int) string {
	if pid <= 0 {
		return in.nodetune("top --once")
	}
	return in.nodetune(fmt.Sprintf("why %d", pid))
}

func (in Input) nodetune(args string) string {
	command := in.Command
	if command == "" {
		command = "sudo nodetune"
	}
	return command + " " + args
}
