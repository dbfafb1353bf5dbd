{{- define "peersdb-operator.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "peersdb-operator.selector" -}}
app.kubernetes.io/name: peersdb-operator
{{- end -}}

{{- define "peersdb-operator.labels" -}}
{{ include "peersdb-operator.selector" . }}
app.kubernetes.io/part-of: peersdb
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "peersdb-operator.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "peersdb-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "peersdb-operator.fullname" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/*
Objects of a file that the kustomize install has too (files/ are links to it), with this release's labels; a name, if
one is given, replaces the file's. Call with (dict "root" $ "file" "files/x.yaml" "name" "...").
*/}}
{{- define "peersdb-operator.shared" -}}
{{- $labels := include "peersdb-operator.labels" .root | fromYaml -}}
{{- range $document := splitList "\n---\n" (.root.Files.Get .file) }}
{{- $object := fromYaml $document }}
{{- $_ := set $object.metadata "labels" (merge (dict) $labels ($object.metadata.labels | default dict)) }}
{{- if $.name }}{{ $_ := set $object.metadata "name" $.name }}{{ end }}
---
{{ toYaml $object }}
{{- end }}
{{- end -}}
