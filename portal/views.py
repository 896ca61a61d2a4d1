from django.http import HttpResponse


def home(request):
    return HttpResponse("home")


def csrf_failure(request, reason=""):
    return HttpResponse(status=403)
