package openapi

import (
	_ "embed"
	"encoding/json"

	"k8s.io/kube-openapi/pkg/common"
)

//go:embed definitions.json
var published []byte

// GetOpenAPIDefinitions reads what Kubernetes publishes of its types (definitions.py), where upstream generates and
// compiles 50,000 lines of Go that say the same.
func GetOpenAPIDefinitions(common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	definitions := map[string]common.OpenAPIDefinition{}
	if err := json.Unmarshal(published, &definitions); err != nil {
		panic(err)
	}
	return definitions
}
