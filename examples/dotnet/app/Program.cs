using System;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Hosting;
using Microsoft.Win32;

/// <summary>Tells over HTTP what a .NET program sees of its container.</summary>
public static class Program
{
    public static void Main(string[] arguments) =>
        Host.CreateDefaultBuilder(arguments)
            .ConfigureWebHostDefaults(web => web.Configure(app => app.Run(Answer)))
            .Build()
            .Run();

    private static Task Answer(HttpContext context)
    {
        context.Response.ContentType = "application/json";
        return context.Response.WriteAsync(JsonSerializer.Serialize(Surroundings()) + "\n");
    }

    private static object Surroundings() => new
    {
        Runtime = RuntimeInformation.FrameworkDescription,
        System = RuntimeInformation.OSDescription,
        User = Environment.UserName,
        Computer = Environment.MachineName,
        Colour = Environment.GetEnvironmentVariable("COLOUR"),
        Registry = Registry.GetValue(@"HKEY_LOCAL_MACHINE\Software\Example", "Greeting", null),
        Files = Directory.GetFiles(".").Select(Path.GetFileName).OrderBy(name => name),
    };
}
