// Judges manifests, which it reads as YAML, by the Go types of their kinds, and pods by Kubernetes' own
// code for Pod Security. Prints each as a line of JSON, with what the levels say that refuse it. Fails on
// a field that a kind does not have. What has no kind is only printed.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	documents "k8s.io/apimachinery/pkg/util/yaml"
	levels "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := judge(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// judged is what is printed of a document.
type judged struct {
	Document json.RawMessage         `json:"document"`
	Refused  map[levels.Level]string `json:"refused"`
}

// judge reads documents to the end.
func judge(in io.Reader, out io.Writer) error {
	security, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	reader := documents.NewYAMLReader(bufio.NewReader(in))
	printer := json.NewEncoder(out)
	for {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		document, err := yaml.YAMLToJSONStrict(text)
		if err != nil {
			return err
		}
		var kind meta.TypeMeta
		if err := json.Unmarshal(document, &kind); err != nil {
			return err
		}
		result := judged{Document: document, Refused: map[levels.Level]string{}}
		if kind.Kind != "" {
			object, err := typed(kind)
			if err != nil {
				return err
			}
			if err := yaml.UnmarshalStrict(text, object); err != nil {
				return fmt.Errorf("%s: %w", kind.Kind, err)
			}
			if set, is := object.(*apps.DaemonSet); is {
				result.Refused = refusals(security, &set.Spec.Template)
			}
		}
		if err := printer.Encode(result); err != nil {
			return err
		}
	}
}

// refusals has the reasons of each level of Pod Security that refuses a pod.
func refusals(security policy.Evaluator, pod *core.PodTemplateSpec) map[levels.Level]string {
	refused := map[levels.Level]string{}
	for _, level := range []levels.Level{levels.LevelPrivileged, levels.LevelBaseline, levels.LevelRestricted} {
		version := levels.LevelVersion{Level: level, Version: levels.LatestVersion()}
		results := policy.AggregateCheckResults(security.EvaluatePod(version, &pod.ObjectMeta, &pod.Spec))
		if !results.Allowed {
			refused[level] = results.ForbiddenReason()
		}
	}
	return refused
}

// typed is an empty object of a kind.
func typed(kind meta.TypeMeta) (any, error) {
	switch kind.APIVersion + " " + kind.Kind {
	case "apps/v1 DaemonSet":
		return new(apps.DaemonSet), nil
	case "monitoring.coreos.com/v1 PodMonitor":
		return new(monitoring.PodMonitor), nil
	case "monitoring.coreos.com/v1 PrometheusRule":
		return new(monitoring.PrometheusRule), nil
	case "networking.k8s.io/v1 NetworkPolicy":
		return new(networking.NetworkPolicy), nil
	case "v1 ConfigMap":
		return new(core.ConfigMap), nil
	case "v1 Namespace":
		return new(core.Namespace), nil
	case "v1 ServiceAccount":
		return new(core.ServiceAccount), nil
	default:
		return nil, fmt.Errorf("no type is known for %s %s", kind.APIVersion, kind.Kind)
	}
}
