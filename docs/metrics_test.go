package docs_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rekindle-dev/rekindle/agent"
	"github.com/rekindle-dev/rekindle/audit"
	"github.com/rekindle-dev/rekindle/conf"
	"github.com/rekindle-dev/rekindle/kube"
	"github.com/rekindle-dev/rekindle/store"
)

// registered lists what the code registers, as the guide writes it:
// name{label,label}.
type registered struct {
	prometheus.Registerer
	names []string
}

var description = regexp.MustCompile(`fqName: "([^"]*)".*variableLabels: \{([^}]*)\}`)

func (r *registered) MustRegister(collectors ...prometheus.Collector) {
	for _, c := range collectors {
		descriptions := make(chan *prometheus.Desc, 100)
		c.Describe(descriptions)
		close(descriptions)
		for d := range descriptions {
			m := description.FindStringSubmatch(d.String())
			name := m[1]
			if m[2] != "" {
				name += "{" + m[2] + "}"
			}
			r.names = append(r.names, name)
		}
	}
}

const operatorGuide = "operator-guide.md"

// section returns the part of the operator guide below a heading.
func section(t *testing.T, heading string) string {
	t.Helper()
	data, err := os.ReadFile(operatorGuide)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(data), "\n"+heading+"\n")
	if !found {
		t.Fatalf("%s has no %q", operatorGuide, heading)
	}
	body, _, _ := strings.Cut(rest, "\n## ")
	return body
}

func TestOperatorGuideNamesEveryMetric(t *testing.T) {
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r := &registered{}
	agent.New(context.Background(), conf.Default(), s, agent.Node{}, agent.NewMetrics(r))
	audit.Open(context.Background(), conf.Default().Audit, "node", r).Close()
	kube.New(context.Background(), conf.Kubernetes{Kubeconfig: "/nonexistent/kubeconfig"}, nil, "node", r)

	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(rekindle_[^`]+)` \\|").FindAllStringSubmatch(section(t, "## Metrics"), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(r.names)
	slices.Sort(documented)
	if !slices.Equal(r.names, documented) {
		t.Errorf("the code has\n\t%s\nand %s has\n\t%s", strings.Join(r.names, "\n\t"), operatorGuide, strings.Join(documented, "\n\t"))
	}
}

func TestUserGuideNamesEveryEvent(t *testing.T) {
	data, err := os.ReadFile("user-guide.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range kube.Reasons() {
		if !strings.Contains(string(data), "| `"+reason+"` |") {
			t.Errorf("user-guide.md does not name the Event %s", reason)
		}
	}
}

func TestOperatorGuideNamesEveryClass(t *testing.T) {
	text := section(t, "## Metrics")
	for _, class := range agent.Classes() {
		if !strings.Contains(text, "`"+string(class)+"`") {
			t.Errorf("%s does not name the class %q", operatorGuide, class)
		}
	}
}
