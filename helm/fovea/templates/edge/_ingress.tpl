{{/* Annotations by which an Ingress carries pictures and streams, for the controller that `ingress.controller` names. */}}
{{- define "fovea.edge.ingressAnnotations" -}}
{{- $controller := .Values.ingress.controller -}}
{{- if eq $controller "nginx" -}}
{{/* One MiB more than the gateway takes: what is a little too large, the gateway refuses. */ -}}
nginx.ingress.kubernetes.io/proxy-body-size: {{ printf "%dm" (add (include "fovea.edge.bodyMiB" .) 1) | quote }}
{{/* No picture lies on the controller's disk, and none waits there to be whole: the gateway bounds bodies and their time. */ -}}
nginx.ingress.kubernetes.io/proxy-request-buffering: "off"
nginx.ingress.kubernetes.io/client-body-buffer-size: "1m"
nginx.ingress.kubernetes.io/proxy-buffering: "off"
nginx.ingress.kubernetes.io/proxy-max-temp-file-size: "0"
nginx.ingress.kubernetes.io/proxy-http-version: "1.1"
nginx.ingress.kubernetes.io/proxy-connect-timeout: "5"
nginx.ingress.kubernetes.io/proxy-send-timeout: {{ include "fovea.edge.sendSeconds" . | quote }}
nginx.ingress.kubernetes.io/proxy-read-timeout: {{ include "fovea.edge.silenceSeconds" . | quote }}
{{/* A request that reached a gateway is never sent to a second one: its work would be done twice. */ -}}
nginx.ingress.kubernetes.io/proxy-next-upstream: "error"
nginx.ingress.kubernetes.io/proxy-next-upstream-tries: "2"
{{- else if eq $controller "traefik" -}}
{{/* Traefik passes bodies and streams on as they come, without a limit: no buffering middleware, which would hold streams
     back until they are whole. Its timeouts belong to the entry point: NOTES.txt says which. */ -}}
traefik.ingress.kubernetes.io/router.entrypoints: {{ ternary "websecure" "web" (not (empty .Values.ingress.tls)) }}
{{- if .Values.ingress.tls }}
traefik.ingress.kubernetes.io/router.tls: "true"
{{- end }}
{{- end -}}
{{- end -}}
