using System;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Hosting;

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
        Registry = MachineValue(@"Software\Example", "Greeting"),
        Files = Directory.GetFiles(".").Select(Path.GetFileName).OrderBy(name => name),
    };

    /// <summary>A text below HKEY_LOCAL_MACHINE; null when there is none.</summary>
    private static string MachineValue(string key, string name)
    {
        const uint onlyTexts = 2;
        var machine = new IntPtr(unchecked((int)0x80000002));
        var text = new StringBuilder(1024);
        var size = text.Capacity * 2;
        return RegGetValue(machine, key, name, onlyTexts, IntPtr.Zero, text, ref size) == 0 ? text.ToString() : null;
    }

    [DllImport("advapi32.dll", CharSet = CharSet.Unicode)]
    private static extern int RegGetValue(
        IntPtr root, string key, string name, uint kinds, IntPtr kind, StringBuilder text, ref int size);
}
